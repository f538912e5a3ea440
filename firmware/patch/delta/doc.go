// Package delta is the codec of patches: it rebuilds bytes of a target from ranges of a base and from what differs. Decoding
// is for devices; [Encode] only for whoever makes packs.
//
// # What it rests on
//
// Two builds of a program are the same instructions with other addresses in them. So the central token is a copy that need
// not be exact: a run of bytes as they are in the base, a word that changed, a run, a word … A word is guessed before it is
// written: what points into a place that moved changes by the same amount as the last word that pointed there ([words]).
// Where calls and jumps are recognised (x86-64, A64, A32), such words are changed before the run is compared, so that a run
// goes through a whole function whose calls all changed. The idea of words that follow their targets is that of Chromium's
// Courgette; that of copies which differ a little is that of Percival's bsdiff; neither needs to know a program's format
// here, so it works for file system images, for kernels and for what has no name.
//
// What resembles nothing is coded as in LZMA: literals and exact copies from base or target, chosen by an optimal parser,
// with a range coder; literals are predicted by the byte before, the two before and the byte with which the last copy would
// have gone on, weighed by a mixer that learns.
//
// # A body
//
//	byte     logarithm of the window: how far back in the target copies reach
//	byte     how instructions name places: 0 not known, 1 x86-64, 2 A64 and A32
//	uvarint  number of ranges of the base; for each the gap after the one before and its length
//	…        tokens, range coded:
//	         literal   0, a byte
//	         plain     1, source 6, length, bytes that are not modelled, such as what is compressed already
//	         copy      1, source (one of the last four distances, near the last, far), length, distance;
//	                   from the base: exact or not; if not, runs and words up to the length
//
// Positions count the ranges, one behind the other, and behind them the target; a distance goes back from the next byte.
// Copies from the base stay in the base, and no token crosses from one piece (chunk) into the next.
//
// # What a device needs
//
// About 2 MiB for what adapts, a mebibyte of pages of the base, and the window: one mebibyte where most comes from the base,
// four otherwise. Lengths and distances are checked before anything is copied; nothing outside of the declared ranges is
// read.
package delta
