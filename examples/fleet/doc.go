// Package fleet is a whole fleet on one machine: a server, eight virtual devices, and the story of three releases. It is
// the demo (cmd/demo, make demo) and the system test at once, made of the real programs as processes of their own, the
// real command line, and images of real files.
//
//	waxwing release create 1.0.0    every device at once: one copy crosses the uplink, the rest goes between neighbours
//	waxwing release create 1.1.0    one device, half of them, all: patches travel, some per mille of the image
//	waxwing release create 1.2.0    is broken: the first device goes back by itself, and the rollout stops by itself
//
// While a rollout runs the site is drawn live: what crossed its uplink, what neighbours gave, and what that saved. On a
// terminal the picture is drawn over itself; elsewhere there is a line now and then. The exact totals come last.
//
// A virtual device is the real agent with files for its two slots and for the boot loader's environment. Rebooting is
// starting the program again, and the environment says from which slot. Its health probe reads a file out of the image in
// the running slot (debugfs), so what decides is what was installed.
//
// Everything stays on loopback and in one temporary folder, and ends with the function that started it.
package fleet
