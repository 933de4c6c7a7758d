package exercise

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"fourways.example/common/servertest/pitfalls"
	"fourways.example/common/servertest/scenario"
	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/variants"
)

// A bug is a pitfall whose scenario needs nothing special of the machine. The scenario shows one symptom. A change that
// ends only this symptom must not pass, so there are more checks.
type bug struct {
	pitfall string
	more    []Tests
}

// bugs returns the bugs in the order of the stages. Code in common is part of all stages, so the check of a bug there
// may use any stage.
func bugs() []bug {
	return []bug{
		{"short-read", []Tests{suite(1, "conn-split-anywhere", "body-length", "expect-100"), unit("h1", "TestDeadlines", "TestContinue")}},
		{"leftover", []Tests{both(1, "no-truncate", "conn-pipeline", "conn-pipeline-mixed", "body-length")}},
		{"first-eof", []Tests{suite(1, "conn-first-eof", "conn-eof-mid-request", "conn-half-close"), unit("h1", "TestEndOfStream")}},
		{"short-write", []Tests{unit("h1", "TestParts", "TestShrunkFile", "TestWriteTimeoutOfSendfile")}},
		{"no-keepalive-close", []Tests{suite(1, "conn-persistent", "conn-close", "conn-close-token", "conn-10", "conn-10-keep-alive", "keep-each")}},
		{"extra-bytes", []Tests{suite(1, "content-get", "content-head", "content-empty", "content-big", "resp-form", "resp-head", "keep-each", "body-length")}},
		{"lost-worker", []Tests{tests(2, "TestWork"), suite(2, "conn-reset-in-response", "stop-finishes", "stop-finishes-request")}},
		{"unbounded-queue", []Tests{suite(2, "first-clients", "cli-workers", "stop-idle-many", "stop-finishes", "stop-finishes-request")}},
		{"no-epollout", []Tests{both(4, "always-epollout|blocking-fd", "content-big-slow", "conn-persistent", "conn-pipeline-mixed")}},
		{"stale-fd", []Tests{unit("slotmap", "TestOldKey", "TestLikeMap"), scenarios(4, "unbalanced")}},
		{"slowloris", []Tests{unit("h1", "TestDeadlines", "TestLateServer")}},
	}
}

// both returns scenarios and conformance cases of a stage in one run, so that the tests are built once.
func both(stage int, ids string, names ...string) Tests {
	t := scenarios(stage, ids)
	t.Run += "|" + suite(stage, names...).Run
	return t
}

// Bugs returns the exercises in which a reader finds a bug. The code has the bug of a pitfall. The check begins with the
// pitfall's scenario. The ID does not tell which pitfall it is.
func Bugs() []Exercise {
	var all []Exercise
	for i, b := range bugs() {
		s, ok := pitfalls.ScenarioOf(b.pitfall)
		if !ok {
			panic("exercise: there is no pitfall " + b.pitfall)
		}
		all = append(all, Exercise{
			ID: fmt.Sprintf("bug-%d", i+1), Title: "Find the bug", Stage: s.Stage,
			Bug:     b.pitfall,
			Missing: "a client gets something else than it should; mend the code",
			Check:   append([]Tests{scenarios(s.Stage, b.pitfall)}, b.more...),
			Hints:   bugHints(s),
			Read:    []string{stages.Dirs[s.Stage] + "/README.md", "docs/reading-traces.md"},
		})
	}
	return all
}

// bugHints makes hints of what the scenario knows: the folder, the function, the cause.
func bugHints(s scenario.Scenario) [3]string {
	var dirs, funcs []string
	for _, p := range s.Where {
		dir := strings.ReplaceAll(p.Dir, "STAGE", stages.Dirs[s.Stage])
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		if f := p.Func + " in " + dir; p.Func != "" && !slices.Contains(funcs, f) {
			funcs = append(funcs, f)
		}
	}
	return [3]string{
		"Look into " + strings.Join(dirs, " and ") + ".",
		"Compare what the client sees with " + strings.Join(funcs, ", ") + ".",
		"What the client sees usually means " + s.Usually + ".",
	}
}

// pitfallDir returns the folder of a pitfall.
func (e *Exercise) pitfallDir() string {
	return path.Join(stages.Dirs[e.Stage], "testdata", "pitfalls", e.Bug)
}

// A Fix is what a reader sees after a bug is found.
type Fix struct {
	Fault string // what the server did
	Patch []byte // the change from the code with the bug to the real code
	Page  string // the page that explains it, from the root of the repository
}

// Fix returns what ends the bug.
func (e *Exercise) Fix(read func(string) ([]byte, error)) (*Fix, error) {
	s, ok := pitfalls.ScenarioOf(e.Bug)
	if !ok {
		return nil, fmt.Errorf("exercise %s: there is no pitfall %s", e.ID, e.Bug)
	}
	patch, err := read(e.pitfallDir() + "/bug.patch")
	if err != nil {
		return nil, err
	}
	return &Fix{s.Bug, reverse(patch), e.pitfallDir() + "/README.md"}, nil
}

// broken returns the files with the bug, without the comments that would point to it.
func (e *Exercise) broken(read func(string) ([]byte, error)) ([]Stub, error) {
	patch, err := read(e.pitfallDir() + "/bug.patch")
	if err != nil {
		return nil, err
	}
	files, err := variants.ParsePatch(patch)
	if err != nil {
		return nil, err
	}
	var stubs []Stub
	for _, f := range files {
		text, err := read(f.Path)
		if err != nil {
			return nil, err
		}
		bad, err := f.Apply(string(text))
		if err != nil {
			return nil, fmt.Errorf("exercise %s: %w", e.ID, err)
		}
		silent, err := quiet([]byte(bad))
		if err != nil {
			return nil, fmt.Errorf("exercise %s: %s: %w", e.ID, f.Path, err)
		}
		stubs = append(stubs, Stub{File: f.Path, Text: silent})
	}
	return stubs, nil
}

// hide takes out of the output of a check what tells the reader which bug it is.
func (e *Exercise) hide(output string) string {
	if e.Bug == "" {
		return output
	}
	var out strings.Builder
	name := regexp.MustCompile(`(^|[^\w-])` + regexp.QuoteMeta(e.Bug) + `\b`) // and no longer name that ends so
	for line := range strings.Lines(output) {
		if !strings.Contains(line, "this usually means") && !strings.HasPrefix(line, "pitfall ") {
			out.WriteString(name.ReplaceAllString(line, "${1}"+e.ID))
		}
	}
	return out.String()
}
