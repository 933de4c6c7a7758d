package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/process"
)

// program makes a program of a few lines of shell.
func program(t *testing.T, lines ...string) *process.Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &process.Program{Path: path, Stage: 4, Guest: &process.Guest{}}
}

// TestGuestGivesUp counts cases without an answer, in a row.
func TestGuestGivesUp(t *testing.T) {
	g := &process.Guest{}
	silent := Result{Outcome: Failed, Silent: true}
	for range process.Hopeless - 1 {
		judged(g, silent)
	}
	judged(g, Result{Outcome: Failed}) // it did answer
	for range process.Hopeless - 1 {
		judged(g, silent)
	}
	if err := g.Over(); err != nil {
		t.Fatal("given up too early")
	}
	judged(g, silent)
	if !errors.Is(g.Over(), process.ErrHopeless) {
		t.Error("not given up")
	}
}

// TestGuestThatExits is reported with its exit status, and its cases are given up.
func TestGuestThatExits(t *testing.T) {
	prog := program(t, "echo no such table >&2", "exit 3")
	g, err := Greet(prog, time.Second, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if g.Err == nil || !strings.Contains(g.Err.Error(), "exit status 3") || !strings.Contains(g.Err.Error(), "no such table") {
		t.Errorf("it is greeted with %v", g.Err)
	}
	cases := []Case{{Name: "served", Run: func(t *T) { t.Dial().WantKept() }}, {Name: "not tried"}}
	keep := func(c Case) bool { return c.Name == "served" }
	results, err := RunProgram(context.Background(), prog, cases, keep)
	if err != nil || len(results) != 1 || results[0].Outcome != Failed || !results[0].Silent {
		t.Errorf("%v, %v", results, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	prog.Guest = &process.Guest{}
	prog.Guest.GiveUp(context.Canceled)
	results, _ = RunProgram(ctx, prog, cases, keep)
	if len(results) != 1 || results[0].Outcome != Untried {
		t.Errorf("after the end: %v", results)
	}
}

// TestStuckCase leaves a case behind that waits for something else than its server.
func TestStuckCase(t *testing.T) {
	prog := program(t, "exec sleep 60")
	never := make(chan struct{})
	defer close(never)
	c := Case{Name: "stuck", Run: func(*T) { <-never }}
	st := &T{Program: prog, Case: &c}
	st.Guest = prog.Guest
	prog.Guest.GiveUp(process.ErrHopeless)
	(&lane{}).play(st)
	if !st.Failed() {
		t.Error("it is not said that the case is stuck")
	}
}
