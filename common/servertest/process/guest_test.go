package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script returns a guest program that is a shell script of these lines.
func script(t *testing.T, lines ...string) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Program{Path: path, Stage: 4, Guest: &Guest{}}
}

// TestGuestPatience checks that the wait is shorter after some time-outs, but not for a nil Guest.
func TestGuestPatience(t *testing.T) {
	var none *Guest
	g := &Guest{}
	for range impatientAfter {
		if g.Patience() != Patience {
			t.Fatalf("Patience() is %v, want %v", g.Patience(), Patience)
		}
		g.Waited()
		none.Waited()
	}
	if g.Patience() != Impatience {
		t.Errorf("after %d time-outs Patience() is %v, want %v", impatientAfter, g.Patience(), Impatience)
	}
	if none.Patience() != Patience {
		t.Errorf("Patience() of a nil Guest is %v, want %v", none.Patience(), Patience)
	}
}

// TestExecCrash checks the status that Exec returns for a program that a signal ends and for one that does not end.
func TestExecCrash(t *testing.T) {
	prog := script(t, `case "$1" in crash) kill -SEGV $$;; esac`, "exec sleep 60")
	status, _, _, err := prog.Exec(Config{}, "crash")
	if err != nil || status != 128+11 {
		t.Errorf("for a crash Exec returns %d, %v, want %d", status, err, 128+11)
	}
	for range impatientAfter {
		prog.Guest.Waited() // shortens the wait of the next Exec
	}
	if status, _, _, err = prog.Exec(Config{}, "sleep"); err != nil || status != -1 {
		t.Errorf("for a program that does not end Exec returns %d, %v, want -1", status, err)
	}
}

// TestOutputLines checks that a line in Output is whole, even if the process writes it in two pieces or does not end it.
func TestOutputLines(t *testing.T) {
	var out strings.Builder
	prog := script(t, "printf 'half'; echo ' a line'; printf 'no end'")
	prog.Guest.Output = &out
	if _, err := prog.Begin(Config{}); err == nil {
		t.Fatal("Begin returns no error for a program that is not a server")
	}
	// The program may write its lines before Begin announces it.
	if !strings.Contains(out.String(), "] half a line\n") || !strings.Contains(out.String(), "] started: ") ||
		!strings.Contains(out.String(), "] no end\n") {
		t.Errorf("Output is %q", out.String())
	}
}

// TestStranger checks that a program that finds its port in use does not pass for the server that listens there.
func TestStranger(t *testing.T) {
	l, port, err := ListenFree()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s, err := script(t, "sleep 0.05", "exit 1").Begin(Config{Port: port}) // an interpreter takes a while to notice it
	if !errors.Is(err, errAtStart) {
		t.Errorf("the server is %v, the error %v", s, err)
	}
}
