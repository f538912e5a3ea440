// Package images builds the pairs of images that a benchmark of updates needs, from real things: packages of Debian of
// which the archive offers two versions at a time, Go programs that are compiled twice, two kernels.
//
// [Workshop.Build] makes one pair by its name; see [Names]. Everything lies below one folder and is kept there, so that the
// next run needs neither the archive nor the time: packages in debs, trees and images below a name that holds a digest
// of their recipe. Images have fixed identities and times: two of one recipe are the same byte for byte, and two of
// neighbouring versions differ by their content only.
//
// Where the archive cannot be reached, trees of the Go toolchain take the place of packages, and Pair.Notes says so.
package images
