package suite

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// program writes a shell script of these lines, as a Guest's program.
func program(t *testing.T, lines ...string) *process.Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.Join(lines, "\n")+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &process.Program{Path: path, Stage: 4, Guest: &process.Guest{}}
}

// TestGuestGivesUp checks that a Guest is given up after process.Hopeless unanswered cases in a row, not before.
func TestGuestGivesUp(t *testing.T) {
	g := &process.Guest{}
	silent := Result{Outcome: Failed, Silent: true}
	for range process.Hopeless - 1 {
		judged(g, silent)
	}
	judged(g, Result{Outcome: Failed}) // it answered a fresh client
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

// TestGuestThatExits checks the reports about a program that exits at once, and that its cases are not tried for ever.
func TestGuestThatExits(t *testing.T) {
	prog := program(t, "echo no such table >&2", "exit 3")
	g, err := Greet(prog, time.Second, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if g.Err == nil || !strings.Contains(g.Err.Error(), "exit status 3") || !strings.Contains(g.Err.Error(), "no such table") {
		t.Errorf("Greet: %v, want its exit status and its stderr", g.Err)
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

// TestStuckCase checks that play returns from a case that waits for something else than its server.
func TestStuckCase(t *testing.T) {
	prog := program(t, "exec sleep 60")
	never := make(chan struct{})
	defer close(never)
	c := Case{Name: "stuck", Run: func(*T) { <-never }}
	st := &T{Program: prog, Case: &c, patience: 100 * time.Millisecond}
	st.Guest = prog.Guest
	prog.Guest.GiveUp(process.ErrHopeless)
	(&group{}).play(st)
	if !st.Failed() {
		t.Error("the stuck case has not failed")
	}
}

// TestCaseLimit checks that a case of a guest fails after the guest's limit.
func TestCaseLimit(t *testing.T) {
	prog := program(t, "exec sleep 60")
	prog.Guest.CaseLimit = 50 * time.Millisecond
	c := Case{Name: "slow", Run: func(t *T) { kernel.Eventually(process.Patience, t.Failed) }}
	st := &T{Program: prog, Case: &c}
	st.Guest = prog.Guest
	(&group{}).play(st)
	if !strings.Contains(st.Log(), "stuck for 50ms") {
		t.Errorf("the case has not failed after 50 ms: %s", st.Log())
	}
}

// TestMissing checks that a case that lacks something neither passes nor fails.
func TestMissing(t *testing.T) {
	cases := []Case{{Name: "lacking", NoServer: true, Run: func(t *T) {
		t.Missing("needs something: install it")
		t.Errorf("the case goes on")
	}}}
	prog := program(t, "exec sleep 60")
	results, err := RunProgram(context.Background(), prog, cases, nil)
	if err != nil || len(results) != 1 || results[0].Outcome != Skipped || results[0].Log != "needs something: install it" {
		t.Errorf("%v, %v", results, err)
	}
}

// TestBreaker counts cases in a row after which a fresh client is not served.
func TestBreaker(t *testing.T) {
	unserved := Result{Outcome: Failed, Silent: true}
	none := []Result{{Outcome: NotHere}, {Outcome: Untried}, {Outcome: Skipped}, {Case: Case{NoServer: true}}, {Case: Case{Ends: true}}}
	for _, row := range []struct {
		name    string
		between []Result
		stops   bool
	}{
		{"in a row", nil, true},
		{"with cases between that ask no fresh client", none, true},
		{"with a case between that passes", []Result{{Outcome: Passed}}, false},
		{"with a case between that fails and leaves a server that serves", []Result{{Outcome: Failed}}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b breaker
			for range mostUnserved - 1 {
				if b.record(unserved) || b.stopped() {
					t.Fatal("stopped too early")
				}
			}
			if b.patience() != process.Impatience {
				t.Errorf("the patience is %v, want %v", b.patience(), process.Impatience)
			}
			for _, r := range row.between {
				b.record(r)
			}
			if stops := b.record(unserved); stops != row.stops || b.stopped() != row.stops {
				t.Errorf("stops: %t, stopped: %t; want %t", stops, b.stopped(), row.stops)
			}
		})
	}
}

// TestSubUnserved ends a case when a part of it waited in vain and a fresh client is not served either.
func TestSubUnserved(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	prog := program(t, "echo listening on "+l.Addr().String(), "exec sleep 60")
	prog.Guest = nil
	server, err := prog.Begin(process.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	c := &T{Case: &Case{}, Program: prog, Server: server, patience: 100 * time.Millisecond}
	parts := 0
	c.Play(func(c *T) {
		for range 3 {
			c.Sub("part", func(c *T) {
				parts++
				c.Dial().Request("GET", "/").Want(200)
			})
		}
	})
	if parts != 1 || !strings.Contains(c.Log(), "the rest of the case is not tried") {
		t.Errorf("%d parts were tried:\n%s", parts, c.Log())
	}
}
