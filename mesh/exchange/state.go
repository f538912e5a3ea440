package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Limits of a State that comes, so that one of maxState bytes does not become far more once it is read, and is not passed on
// for ever. Honest devices stay far below.
const (
	maxWords = 256  // in one State
	maxRuns  = 2048 // numbers in what a word says of itself
	maxName  = 64   // bytes of a device id, as firmware.CheckName has it, and of a pack's
)

// list is a JSON array that ends before it is long.
type list[T any] struct {
	most int
	all  []T
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	in := json.NewDecoder(bytes.NewReader(b))
	start, err := in.Token()
	switch {
	case err != nil || start == nil: // null
		return err
	case start != json.Delim('['):
		return errors.New("no list where one should be")
	}
	for in.More() {
		if len(l.all) == l.most {
			return fmt.Errorf("more than %d of a kind", l.most)
		}
		var one T
		if err := in.Decode(&one); err != nil {
			return err
		}
		l.all = append(l.all, one)
	}
	return nil
}

// parseState reads a state. It leaves out what no honest device says of another: its neighbour may have been told so.
func parseState(b []byte) (State, error) {
	s := struct {
		State
		Words list[Word] `json:"words"` // in place of those of State
		Packs list[Pack] `json:"packs"`
	}{Words: list[Word]{most: maxWords}, Packs: list[Pack]{most: maxPacks}}
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, err
	}
	s.State.Words = slices.DeleteFunc(s.Words.all, func(w Word) bool {
		return len(w.Device) > maxName || len(w.Pack) > maxName || len(w.Fetching) > maxRuns
	})
	s.State.Packs = slices.DeleteFunc(s.Packs.all, func(p Pack) bool { return len(p.ID) > maxName })
	return s.State, nil
}
