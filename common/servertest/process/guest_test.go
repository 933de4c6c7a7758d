package process

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// script makes a program of a few lines of shell.
func script(t *testing.T, lines ...string) *Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &Program{Path: path, Stage: 4, Guest: &Guest{}}
}

// TestGuestPatience sees patience run out, and never with one of our own.
func TestGuestPatience(t *testing.T) {
	var none *Guest
	g := &Guest{}
	for range patientFor {
		if g.Patience() != Patience {
			t.Fatal("impatient too early")
		}
		g.Waited()
		none.Waited()
	}
	if g.Patience() != Impatience {
		t.Errorf("still patient after %d waits in vain", patientFor)
	}
	if none.Patience() != Patience {
		t.Error("impatient with one of our own")
	}
}

// TestExecCrash tells a program that is ended by a signal from one that does not end.
func TestExecCrash(t *testing.T) {
	prog := script(t, `case "$1" in crash) kill -SEGV $$;; esac`, "exec sleep 60")
	status, _, _, err := prog.Exec(Config{}, "crash")
	if err != nil || status != 128+11 {
		t.Errorf("a crash is %d, %v", status, err)
	}
	for range patientFor {
		prog.Guest.Waited() // so that the next one is quick
	}
	if status, _, _, err = prog.Exec(Config{}, "sleep"); err != nil || status != -1 {
		t.Errorf("one that does not end is %d, %v", status, err)
	}
}

// TestOutputLines keeps the lines of several processes apart.
func TestOutputLines(t *testing.T) {
	var out strings.Builder
	prog := script(t, "printf 'half'; echo ' a line'; printf 'no end'")
	prog.Guest.Output = &out
	if _, err := prog.Begin(Config{}); err == nil {
		t.Fatal("it starts")
	}
	// A program as short as this may be done before it is announced.
	if !strings.Contains(out.String(), "] half a line\n") || !strings.Contains(out.String(), "] started: ") ||
		!strings.Contains(out.String(), "] no end\n") {
		t.Errorf("the output is %q", out.String())
	}
}
