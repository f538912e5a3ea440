// Package delta is the codec of patches: it rebuilds bytes of a target from ranges of a base and what differs.
package delta
