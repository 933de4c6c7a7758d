package trace

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/record"
	"fourways.example/common/servertest/variants"
	"fourways.example/lab/learner/trace/draw"
	"fourways.example/lab/learner/trace/scene"
)

var update = flag.Bool("update", false, "write the pictures that the tests compare")

// tapes is the folder of the recordings that are part of the repository.
const tapes = "../../../docs/trace"

// drawn returns the picture of the recordings in the repository.
func drawn(t *testing.T, scenario string, all bool) *draw.Picture {
	t.Helper()
	c := &Command{Scenario: scenario}
	var p *pitfalls.Pitfall
	if scenario != threeClients {
		repo, err := variants.FindRepo(".")
		if err != nil {
			t.Fatal(err)
		}
		if p, err = find(repo, scenario); err != nil {
			t.Fatal(err)
		}
	}
	recordings, err := read(tapes, c.names(p))
	if err != nil {
		t.Fatal(err)
	}
	return picture(recordings, p, all)
}

// TestPictures draws the recordings in the repository and compares the pictures byte by byte.
func TestPictures(t *testing.T) {
	for _, tt := range []struct {
		file, scenario string
		all            bool
	}{
		{tapes + "/three-clients.svg", threeClients, false},
		{"testdata/three-clients.json", threeClients, false},
		{"testdata/head-of-line.svg", "head-of-line", false},
		{"testdata/head-of-line.json", "head-of-line", false},
		{"testdata/head-of-line-all.svg", "head-of-line", true},
	} {
		p := drawn(t, tt.scenario, tt.all)
		got := p.SVG()
		if filepath.Ext(tt.file) == ".json" {
			got = p.Events()
		} else if err := wellFormed(got); err != nil {
			t.Errorf("%s: %v", tt.file, err)
		}
		if *update {
			if err := os.WriteFile(tt.file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs in line %d. After a change of the drawing run go test -update, and look at the picture", tt.file, firstDifference(got, want))
		}
	}
}

func firstDifference(a, b []byte) int {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

// TestStory checks that the recordings in the repository show what README says of them.
func TestStory(t *testing.T) {
	p := drawn(t, threeClients, false)
	for i, want := range []string{"waits for idle", "waits for slow", "waits for slow", "waits for slow and idle at once"} {
		s := p.Scenes[i]
		if got := strings.HasPrefix(s.Result, "the quick client waits"); got != (i == 0) {
			t.Errorf("stage %d: %s", i+1, s.Result)
		}
		if !says(s, want) {
			t.Errorf("stage %d: no thread %s", i+1, want)
		}
	}
	for i, want := range []string{"accepts and serves", "acceptor worker 1 worker 2 worker 3", "acceptor worker 1 worker 2 worker 3", "acceptor event loop"} {
		var got []string
		for _, l := range p.Scenes[i].Lanes {
			got = append(got, l.Role)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("stage %d has the lanes %q, want %s", i+1, got, want)
		}
	}
}

// says reports whether a thread of the scene waits for at least 40 ms as the text says.
func says(s *scene.Scene, text string) bool {
	var sum time.Duration
	for _, l := range s.Lanes {
		for _, b := range l.Bars {
			if b.Wait && b.Says == text {
				sum += b.Dur()
			}
		}
	}
	return sum > 40*time.Millisecond
}

// TestEvents checks the events against the fields that the trace event format demands for each phase.
func TestEvents(t *testing.T) {
	for _, name := range []string{threeClients, "head-of-line"} {
		var doc struct {
			TraceEvents []map[string]any `json:"traceEvents"`
			Unit        string           `json:"displayTimeUnit"`
		}
		if err := json.Unmarshal(drawn(t, name, false).Events(), &doc); err != nil {
			t.Fatal(err)
		}
		if doc.Unit != "ms" && doc.Unit != "ns" {
			t.Errorf("displayTimeUnit is %q", doc.Unit)
		}
		phases, named := map[string]int{}, map[string]bool{}
		for i, e := range doc.TraceEvents {
			phase, _ := e["ph"].(string)
			phases[phase]++
			if err := valid(e, phase); err != nil {
				t.Errorf("%s, event %d: %v", name, i, err)
			}
			key := fmt.Sprint(e["pid"], " ", e["tid"])
			if e["name"] == "thread_name" {
				named[key] = true
			}
			if phase != "M" && !named[key] {
				t.Errorf("%s, event %d is in a thread without a name", name, i)
			}
		}
		if phases["M"] == 0 || phases["X"] == 0 || phases["i"] == 0 {
			t.Errorf("%s: events by phase: %v", name, phases)
		}
	}
}

// valid checks one event.
func valid(e map[string]any, phase string) error {
	number := func(key string) bool { _, ok := e[key].(float64); return ok }
	if name, ok := e["name"].(string); !ok || name == "" {
		return fmt.Errorf("no name")
	}
	if !number("pid") || !number("tid") {
		return fmt.Errorf("no pid, or no tid")
	}
	switch args, _ := e["args"].(map[string]any); phase {
	case "M":
		if args["name"] == nil && args["sort_index"] == nil {
			return fmt.Errorf("%v without its argument", e["name"])
		}
		return nil
	case "X":
		if dur, ok := e["dur"].(float64); !ok || dur < 0 {
			return fmt.Errorf("the duration is %v", e["dur"])
		}
	case "i":
		if s := e["s"]; s != "t" && s != "p" && s != "g" {
			return fmt.Errorf("the scope is %v", s)
		}
	default:
		return fmt.Errorf("the phase is %q", phase)
	}
	if !number("ts") {
		return fmt.Errorf("no ts")
	}
	return nil
}

// TestRecord records stage 4 under a real strace.
func TestRecord(t *testing.T) {
	if err := straceMissing(); err != nil {
		record.Missing(t, "needs strace: %v", err)
	}
	repo, err := variants.FindRepo(".")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := repo.NewWorkshop()
	if err != nil {
		t.Fatal(err)
	}
	defer shop.Close()
	tape, err := recordClients(t.Context(), shop, 4)
	if err != nil {
		t.Fatal(err)
	}
	s := scene.New(tape, scene.Options{})
	// How long each call takes depends on the machine, so this looks only at which calls there are.
	about := map[string]bool{}
	for _, l := range s.Lanes {
		for _, b := range l.Bars {
			about[b.Client] = true
			if b.Wait && b.Name == "epoll_pwait" {
				about["a wait for all of them"] = true
			}
		}
	}
	for _, want := range []string{"slow", "idle", "quick", "a wait for all of them"} {
		if !about[want] {
			t.Errorf("no call is about %s in\n%s", want, tape)
		}
	}
	if top := os.TempDir(); strings.Contains(tape.String(), top+"/trace-") {
		t.Errorf("the recording names a folder in %s", top)
	}
}

// TestMissing checks that without strace the command says how to get it.
func TestMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if err := straceMissing(); err == nil || !strings.Contains(err.Error(), "apt-get install strace") {
		t.Errorf("without strace: %v", err)
	}
	refusing := "#!/bin/sh\necho 'strace: ptrace(PTRACE_TRACEME, ...): Operation not permitted' >&2; exit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "strace"), []byte(refusing), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := straceMissing(); err == nil || !strings.Contains(err.Error(), "Operation not permitted") || !strings.Contains(err.Error(), "ptrace(2)") {
		t.Errorf("where strace cannot attach: %v", err)
	}
}
