package audit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server/audit"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

func TestNewestFirst(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	trail := audit.New(storetest.New(t), func() time.Time { return now })
	for i := range 7 { // several in one millisecond keep their order too
		if i == 4 {
			now = now.Add(time.Second)
		}
		if err := trail.Record(t.Context(), audit.Entry{Actor: "me", Action: "count", Subject: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for after, pages := "", 0; pages == 0 || after != ""; pages++ {
		entries, next, err := trail.List(t.Context(), after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Subject)
		}
		after = next
	}
	if s := strings.Join(got, " "); s != "6 5 4 3 2 1 0" {
		t.Errorf("listed %s", s)
	}
	if _, _, err := trail.List(t.Context(), "nonsense", 3); !errors.Is(err, audit.ErrToken) {
		t.Errorf("a made-up token: %v", err)
	}
	if err := trail.Record(t.Context(), audit.Entry{Detail: strings.Repeat("x", 5000)}); err != nil {
		t.Fatal(err)
	}
	if entries, _, err := trail.List(t.Context(), "", 1); err != nil || len(entries[0].Detail) != 1<<10 || entries[0].At != now {
		t.Errorf("%v %v", entries, err)
	}
}
