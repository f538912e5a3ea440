package site

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const abandonVariable = "WAXWING_SITE_TEST_ABANDON"

// TestMain makes a folder and waits to be killed, when a test starts this binary for that.
func TestMain(m *testing.M) {
	dir := os.Getenv(abandonVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	f, err := newFolder(dir, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(f.path)
	select {}
}

// TestFolderOfTheKilled kills the process that has made a folder: the folder goes with it.
func TestFolderOfTheKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), abandonVariable+"="+t.TempDir())
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(line)
	if err := os.WriteFile(filepath.Join(path, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	for {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s is left behind", path)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestLastLine holds what programs read: the first eight fields, in their order, and the medians in them.
func TestLastLine(t *testing.T) {
	run := func(down int64, inPlace time.Duration) *Run {
		return &Run{
			Devices: 2, Down: down, Up: 5, InPlace: inPlace, Committed: inPlace + time.Second, Sent: []int64{10, 30},
			CPU: []time.Duration{time.Second, 2 * time.Second}, RSS: []int64{1 << 20, 2 << 20}, Busy: 0.5,
		}
	}
	together, err := Choose("together")
	if err != nil {
		t.Fatal(err)
	}
	one := run(1_000_000, 9*time.Second)
	f := figures(together[0], Options{Devices: 2}, 1_000_000, one.Down, []*Run{run(1_020_000, 13*time.Second), run(9_000_000, 12*time.Second), run(1_010_000, 99*time.Second)})
	var out bytes.Buffer
	if err := Print(&out, one, []Figures{f, {N: 2, Scenario: "depot", NotRun: "not there"}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	const want = `{"n":2,"rate_bit_s":1000000,"one_device_bytes":1000000,"uplink_bytes":1020000,"uplink_ratio":1.02,` +
		`"seconds":13,"ideal_seconds":8,"rss_max_bytes":2097152,`
	if !strings.HasPrefix(last, want) {
		t.Errorf("the last line is\n%s, want\n%s…", last, want)
	}
	var all struct{ Scenarios []Figures }
	if err := json.Unmarshal([]byte(last), &all); err != nil || len(all.Scenarios) != 2 {
		t.Errorf("%v: %s", err, last)
	}
	if diff := cmp.Diff([]string{"time: 13.0 s, over 12.6 s (1.2 times the ideal and 3 s)"}, f.Misses); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out.String(), "not there") {
		t.Error("the table does not say why there is no depot")
	}
}

func TestParseRate(t *testing.T) {
	for s, want := range map[string]int64{"20mbit": 20e6, "512kbit": 512e3, "1gbit": 1e9, "9600bit": 9600, "9600": 9600} {
		if got, err := ParseRate(s); got != want || err != nil {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "fast", "-1mbit", "0bit", "20mbps", "1000000gbit", "1.5mbit"} {
		if got, err := ParseRate(s); err == nil {
			t.Errorf("%q: %d", s, got)
		}
	}
}

func TestChoose(t *testing.T) {
	if all, err := Choose("all"); err != nil || len(all) != len(Scenarios()) {
		t.Errorf("%d, %v", len(all), err)
	}
	if two, err := Choose("killed, off"); err != nil || len(two) != 2 || two[0].Name != "killed" || two[1].Name != "off" {
		t.Errorf("%v, %v", two, err)
	}
	if _, err := Choose("together,nonsense"); err == nil || !strings.Contains(err.Error(), "two-subnets") {
		t.Errorf("%v does not say what there is", err)
	}
}

func TestSome(t *testing.T) {
	for _, c := range []struct {
		part float64
		n    int
		want int
	}{{0, 10, 0}, {0.1, 4, 1}, {0.1, 10, 1}, {0.2, 20, 4}, {0.2, 50, 10}} {
		got := some(c.part, c.n)
		for i := range got {
			if i >= c.n {
				t.Errorf("%v of %d: %v", c.part, c.n, got)
			}
		}
		if len(got) != c.want {
			t.Errorf("%v of %d: %v, want %d", c.part, c.n, got, c.want)
		}
	}
}

// TestProc reads what the kernel says of processes, of one whose name is made to confuse too.
func TestProc(t *testing.T) {
	const stat = "7 (a) S 1 2) R 1 7 7 0 -1 4194304 100 0 0 0 120 30 5 5 20 0 9 0 100 1 1"
	if got := cpuTime(stat); got != 1500*time.Millisecond {
		t.Errorf("%s", got)
	}
	if got := highWater("Name:\tx\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n"); got != 20<<20 {
		t.Errorf("%d", got)
	}
	const table = "  sl  local_address rem_address   st\n   0: 0100007F:0050 00000000:0000 0A 0\n   1: 0100007F:0050 0100007F:9999 01 0\n"
	if got := established(table); got != 1 {
		t.Errorf("%d connections", got)
	}
	if cpuTime("") != 0 || highWater("VmHWM:\n") != 0 {
		t.Error("something of nothing")
	}
}

// TestTorrent holds the description of a file of one piece and a bit.
func TestTorrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, make([]byte, pieceSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := torrent(path, "http://a/image")
	if err != nil {
		t.Fatal(err)
	}
	const head, tail = "d4:infod6:lengthi262145e4:name5:image12:piece lengthi262144e6:pieces40:", "e8:url-list14:http://a/imagee"
	if !bytes.HasPrefix(b, []byte(head)) || !bytes.HasSuffix(b, []byte(tail)) || len(b) != len(head)+40+len(tail) {
		t.Errorf("%q", b)
	}
}
