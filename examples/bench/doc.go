// Package bench sets Waxwing beside the tools that people would use instead, in one run on the same data: bytes of an
// update, seconds and peak memory to make and to apply it, and the speed to publish and to assemble.
//
// [Bench.Case] measures one upgrade whose images come from [github.com/waxwing-ota/waxwing/examples/bench/images]. Waxwing
// is measured through its command line only, as a user gets it. Every method but a count of blocks has to rebuild the new
// image byte for byte, or its row says that it failed. What is not installed, or would take too much memory, is left out
// with the reason in its place. [Report.Table] is for people, the JSON form of a [Report] for programs.
package bench
