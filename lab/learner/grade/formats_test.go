package grade

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fourways.example/common/servertest/suite"
)

// sampleReport has a passed, a failed, a crashed, a skipped and an untried case.
func sampleReport(t *testing.T) *Report {
	t.Helper()
	weights, err := readWeights("")
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(4, weights, claims{"host-missing": "an HTTP/1.1 request without Host is 400."})
	if err := r.selectCases([]string{"first-request", "host", "conn-eof-mid-request", "notes-redis-real", "stop-hup"}); err != nil {
		t.Fatal(err)
	}
	r.Program, r.BuildLog = "./server", "cc: a warning <1>\n"
	for name, res := range map[string]suite.Result{
		"first-request":        {Outcome: suite.Passed},
		"host":                 {Outcome: suite.Failed, Log: "answered 200 OK, want 400\n\tsent: \"GET /\"\x01"},
		"conn-eof-mid-request": {Outcome: suite.Failed, Log: "no answer", Crash: "signal: segmentation fault"},
		"notes-redis-real":     {Outcome: suite.Skipped, Log: "needs redis-server"},
	} {
		res.Case = suite.Case{Name: name}
		r.addResult(res)
	}
	r.finish()
	return r
}

// TestGradescope checks what the documentation of Gradescope requires, which checkGradescope knows.
func TestGradescope(t *testing.T) {
	r := sampleReport(t)
	var out strings.Builder
	if err := r.write(&out, "gradescope"); err != nil {
		t.Fatal(err)
	}
	res := checkGradescope(t, []byte(out.String()))
	status := map[string]string{}
	for _, test := range res.Tests {
		status[test.Name] = test.Status
		if strings.HasSuffix(test.Name, ": conn-eof-mid-request") && !strings.Contains(test.Output, "CRASHED: signal: segmentation fault") {
			t.Errorf("the crash is not reported: %q", test.Output)
		}
	}
	want := map[string]string{
		"one request: first-request": "passed", "header fields and methods: host": "failed", "clients that leave: conn-eof-mid-request": "failed",
		"start and stop: stop-hup": "failed", // was not tried
	}
	for name, s := range want {
		if status[name] != s || len(status) != len(want) {
			t.Errorf("%s: got %q, want %s; all are %v", name, status[name], s, status)
		}
	}
	for _, part := range []string{"1 of 5 milestones", "Next: clients that leave.", "It crashed", "cc: a warning <1>"} {
		if !strings.Contains(res.Output, part) {
			t.Errorf("no %q in the output:\n%s", part, res.Output)
		}
	}
}

// checkGradescope decodes a results.json, and checks it against the documented shape.
func checkGradescope(t *testing.T, data []byte) gradescopeResult {
	t.Helper()
	var res gradescopeResult
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&res); err != nil {
		t.Fatalf("%v:\n%s", err, data)
	}
	sum := 0.0
	for _, test := range res.Tests {
		sum += test.Score
		if test.Score < 0 || test.Score > test.MaxScore || test.Name == "" || test.Status != "passed" && test.Status != "failed" ||
			(test.Status == "passed") != (test.Score == test.MaxScore) && test.MaxScore > 0 {
			t.Errorf("a bad test: %+v", test)
		}
	}
	if diff := sum - res.Score; diff > 0.05 || diff < -0.05 {
		t.Errorf("the score is %v, the sum of the tests' is %v", res.Score, sum)
	}
	return res
}

// TestJUnit checks the counts and the kinds of failures.
func TestJUnit(t *testing.T) {
	r := sampleReport(t)
	var out strings.Builder
	if err := r.write(&out, "junit"); err != nil {
		t.Fatal(err)
	}
	var all junitSuites
	if err := xml.Unmarshal([]byte(out.String()), &all); err != nil {
		t.Fatalf("%v:\n%s", err, out.String())
	}
	var tests, failures, crashed, skips int
	for _, s := range all.Suites {
		tests, failures, crashed, skips = tests+s.Tests, failures+s.Failures, crashed+s.Errors, skips+s.Skipped
		if s.Tests != len(s.Cases) {
			t.Errorf("%s: %d tests, but %d cases", s.Name, s.Tests, len(s.Cases))
		}
	}
	if tests != 5 || failures != 1 || crashed != 2 || skips != 1 {
		t.Errorf("%d tests, %d failures, %d errors, %d skipped; want 5, 1, 2 and 1:\n%s", tests, failures, crashed, skips, out.String())
	}
}

// TestNoProgram checks that a submission that was not built gets a report too.
func TestNoProgram(t *testing.T) {
	log := filepath.Join(t.TempDir(), "build.log")
	if err := os.WriteFile(log, []byte("server.c:7: error\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := grade(t, Command{Exec: "./no-such-server", Stage: 1, Format: "gradescope", Build: log})
	if !errors.Is(err, errFailed) {
		t.Errorf("the exit status would be 0: %v", err)
	}
	res := checkGradescope(t, []byte(text))
	if res.Score != 0 || len(res.Tests) < 100 || !strings.Contains(res.Output, "There is no program to grade") || !strings.Contains(res.Output, "server.c:7: error") {
		t.Errorf("%v points of %d tests:\n%s", res.Score, len(res.Tests), res.Output)
	}
}
