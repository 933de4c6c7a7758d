package process

import (
	"os"
	"path/filepath"
	"testing"
)

// TestNoteSkip lists reasons without their details, so that equal ones can be counted.
func TestNoteSkip(t *testing.T) {
	list := filepath.Join(t.TempDir(), "skipped")
	if err := os.WriteFile(list, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(SkippedEnv, list)
	NoteSkip("needs strace: apt-get install strace")
	NoteSkip("needs strace: it may not trace here: Operation not permitted")
	NoteSkip("needs Chromium")
	got, err := os.ReadFile(list)
	if want := "needs strace\nneeds strace\nneeds Chromium\n"; string(got) != want || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

// TestTally words the result of a group of subtests.
func TestTally(t *testing.T) {
	for _, row := range []struct {
		tally *Tally
		want  string
	}{
		{&Tally{Noun: "case", ran: 282, skipped: 9}, "282 cases ok, 9 skipped"},
		{&Tally{Noun: "case", ran: 1}, "1 case ok"},
		{&Tally{Noun: "case", ran: 40, failed: 5, untried: 242}, "5 of 40 cases failed, 242 not tried"},
		{&Tally{Noun: "pitfall", ran: 1, failed: 1}, "1 of 1 pitfall failed"},
	} {
		if got := row.tally.result(); got != row.want {
			t.Errorf("%q, want %q", got, row.want)
		}
	}
}
