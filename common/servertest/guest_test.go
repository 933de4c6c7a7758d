package servertest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
		if g.patience() != patience {
			t.Fatal("impatient too early")
		}
		g.waited()
		none.waited()
	}
	if g.patience() != impatience {
		t.Errorf("still patient after %d waits in vain", patientFor)
	}
	if none.patience() != patience {
		t.Error("impatient with one of our own")
	}
}

// TestGuestGivesUp counts cases without an answer, in a row.
func TestGuestGivesUp(t *testing.T) {
	g := &Guest{}
	silent := Result{Outcome: Failed, Silent: true}
	for range hopeless - 1 {
		judged(g, silent)
	}
	judged(g, Result{Outcome: Failed}) // it did answer
	for range hopeless - 1 {
		judged(g, silent)
	}
	if err := g.over(); err != nil {
		t.Fatal("given up too early")
	}
	judged(g, silent)
	if !errors.Is(g.over(), errHopeless) {
		t.Error("not given up")
	}
}

// TestGuestThatExits is reported with its exit status, and its cases are given up.
func TestGuestThatExits(t *testing.T) {
	prog := script(t, "echo no such table >&2", "exit 3")
	g, err := Greet(prog, time.Second, get)
	if err != nil {
		t.Fatal(err)
	}
	if g.Err == nil || !strings.Contains(g.Err.Error(), "exit status 3") || !strings.Contains(g.Err.Error(), "no such table") {
		t.Errorf("it is greeted with %v", g.Err)
	}
	keep := func(c Case) bool { return c.Name == "conn-persistent" }
	results, err := RunProgram(context.Background(), prog, keep)
	if err != nil || len(results) != 1 || results[0].Outcome != Failed || !results[0].Silent {
		t.Errorf("%v, %v", results, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	prog.Guest = &Guest{given: context.Canceled}
	results, _ = RunProgram(ctx, prog, keep)
	if len(results) != 1 || results[0].Outcome != Untried {
		t.Errorf("after the end: %v", results)
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
		prog.Guest.waited() // so that the next one is quick
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

// TestStuckCase leaves a case behind that waits for something else than its server.
func TestStuckCase(t *testing.T) {
	prog := script(t, "exec sleep 60")
	never := make(chan struct{})
	defer close(never)
	c := Case{Name: "stuck", Run: func(*T) { <-never }}
	st := &T{Program: prog, Case: &c}
	st.guest = prog.Guest
	prog.Guest.giveUp(errHopeless)
	(&lane{}).play(st)
	if !st.Failed() {
		t.Error("it is not said that the case is stuck")
	}
}
