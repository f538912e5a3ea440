package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestKeepsDocumentAndNumbers(t *testing.T) {
	dir := t.TempDir()
	j, doc, err := Open(Options{Dir: dir, Name: "u"})
	if err != nil || doc != nil {
		t.Fatal(doc, err)
	}
	var last uint64
	for i := range 3 * block {
		n, err := j.Next()
		if err != nil || n <= last {
			t.Fatalf("number %d after %d: %v", n, last, err)
		}
		last = n
		if i%500 == 0 {
			if err := j.Save([]byte(fmt.Sprint("doc ", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	j, doc, err = Open(Options{Dir: dir, Name: "u"})
	if err != nil || string(doc) != "doc 3000" {
		t.Fatalf("%q %v", doc, err)
	}
	if n, err := j.Next(); err != nil || n <= last {
		t.Errorf("number %d after %d: %v", n, last, err)
	}
}

// TestNumbersSurviveALostFile harms the newest file: the document before it is found and numbers go on rising.
func TestNumbersSurviveALostFile(t *testing.T) {
	dir := t.TempDir()
	j, _, err := Open(Options{Dir: dir, Name: "u"})
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, doc := range []string{"first", "second"} {
		if err := j.Save([]byte(doc)); err != nil {
			t.Fatal(err)
		}
		if last, err = j.Next(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "u.*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		pristine, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pristine[:len(pristine)/2], 0o600); err != nil {
			t.Fatal(err)
		}
		j, doc, err := Open(Options{Dir: dir, Name: "u"})
		if err != nil || doc == nil {
			t.Fatal(err)
		}
		if n, err := j.Next(); err != nil || n <= last {
			t.Errorf("number %d after %d: %v", n, last, err)
		}
		if err := os.WriteFile(file, pristine, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBothLost(t *testing.T) {
	dir := t.TempDir()
	for _, end := range []string{".0", ".1"} {
		if err := os.WriteFile(filepath.Join(dir, "u"+end), []byte("noise"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1_900_000_000, 0)
	j, doc, err := Open(Options{Dir: dir, Name: "u", Now: func() time.Time { return now }})
	if err != nil || doc != nil {
		t.Fatal(doc, err)
	}
	if n, err := j.Next(); err != nil || n < 1_900_000_000 {
		t.Errorf("%d %v", n, err)
	}
}

func TestRefusesTooLarge(t *testing.T) {
	j, _, err := Open(Options{Dir: t.TempDir(), Name: "u"})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Save(make([]byte, MaxDocument+1)); err == nil {
		t.Error("accepted")
	}
}

var errCut = errors.New("the power is cut")

// disk is a file system whose power goes after a number of operations. What was not synced is lost, torn or kept.
type disk struct {
	durable map[string][]byte // names and bytes that survive
	volatil map[string][]byte // names as the running system sees them
	left    int               // operations until the cut
	tear    int               // bytes of an unsynced write that reach the disk
	keep    bool              // whether an unsynced rename reaches the disk
}

func (d *disk) spend() error {
	if d.left <= 0 {
		return errCut
	}
	d.left--
	return nil
}

func (d *disk) Read(name string, _ int64) ([]byte, error) {
	b, ok := d.volatil[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return bytes.Clone(b), nil
}

func (d *disk) WriteSync(name string, b []byte) error {
	if err := d.spend(); err != nil {
		torn := bytes.Clone(b[:min(d.tear, len(b))])
		d.durable[name] = torn
		return err
	}
	d.volatil[name], d.durable[name] = bytes.Clone(b), bytes.Clone(b)
	return nil
}

func (d *disk) Rename(from, to string) error {
	if err := d.spend(); err != nil {
		return err
	}
	d.volatil[to] = d.volatil[from]
	delete(d.volatil, from)
	return nil
}

func (d *disk) SyncDir(string) error {
	if err := d.spend(); err != nil {
		return err
	}
	d.durable = maps.Clone(d.volatil)
	return nil
}

// restart is what the next start finds.
func (d *disk) restart() {
	if !d.keep {
		d.volatil = maps.Clone(d.durable)
	}
	d.durable = maps.Clone(d.volatil)
	d.left = 1 << 30
}

func TestPowerCutAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{durable: map[string][]byte{}, volatil: map[string][]byte{}, left: 1 << 30}
		saved, tried := "", ""
		var last uint64
		for range rapid.IntRange(1, 6).Draw(t, "lives") {
			j, doc, err := Open(Options{Dir: "/d", Name: "u", Disk: d})
			if err != nil {
				t.Fatal(err)
			}
			if got := string(doc); got != saved && got != tried {
				t.Fatalf("found %q, neither %q nor %q", got, saved, tried)
			}
			saved = string(doc)
			d.left = rapid.IntRange(0, 12).Draw(t, "until the cut")
			d.tear = rapid.IntRange(0, 80).Draw(t, "tear")
			d.keep = rapid.Bool().Draw(t, "keep")
			for i := 0; ; i++ {
				if rapid.Bool().Draw(t, "number") {
					n, err := j.Next()
					if err != nil {
						break
					}
					if n <= last {
						t.Fatalf("number %d after %d", n, last)
					}
					last = n
				}
				tried = fmt.Sprintf("%s+%d", saved[:min(len(saved), 40)], i)
				if err := j.Save([]byte(tried)); err != nil {
					break
				}
				saved = tried
			}
			d.restart()
		}
	})
}
