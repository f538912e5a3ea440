// Package encode makes packs: patches from a base payload, which devices run, to a target payload. Devices never link it.
//
//	base ─► anchors ─┐                 which windows of content lie where (once a base)
//	missing chunks ──┴─► resemble      which ranges of the base look like these chunks
//	                        align      how the chunks follow those ranges, byte by byte
//	                          delta    tokens and their entropy coding
//
// The chunks that the base lacks are taken in the order of the target and put into groups, so that they share one context
// and one request. Each group finds its ranges by resemblance, not by position: every window of 24 bytes of the base whose
// rolling hash says so is an anchor, the anchors of a chunk vote for displacements, and the few best displacements become
// ranges. Within the ranges, [align] follows several alignments at a time and changes between them where that is cheaper,
// as Viterbi's algorithm does.
//
// Groups are independent: they are made on several cores, and a group that would not be smaller than its plain chunks is
// left out. Memory is bounded by the anchors (at most 128 MiB) and the groups in the making (about 200 MiB each),
// whatever the size of the payloads; how much the collector leaves beside that is the caller's to say.
package encode
