package trials

import (
	"time"

	"fourways.example/common/servertest/stages"
	"fourways.example/common/servertest/suite"
)

// GuestCases returns the trials that make sense for a server that somebody else wrote, as cases. Unlike the trials, they
// measure no memory: another language needs more of it.
func GuestCases() []suite.Case {
	return []suite.Case{
		{Name: "idle-10000", IDs: []string{"conn-idle-500"}, Stages: stages.In(4), NoServer: true, Run: guestIdle10000},
	}
}

// guestIdle10000 keeps 10,000 connections open after one request each.
func guestIdle10000(t *T) {
	const clients, files = 10_000, 10_500
	if limit := maxFiles(); limit < files {
		t.Missing(missingFiles(files, limit))
	}
	// The soft limit that a child inherits is often 1024; only Go's runtime raises its own.
	raise := []string{"/bin/sh", "-c", `ulimit -S -n "$(ulimit -H -n)"; exec "$0" "$@"`}
	s := t.Begin(Config{Flags: []string{"-s", "--idle-timeout", "10m"}, Wrap: raise})
	newCrowd(t, s, clients, true)
	start := time.Now()
	serve(t, s)
	if took := time.Since(start); took > time.Second {
		t.Errorf("beside %d idle clients the next client waits for %v, want less than 1s", clients, took)
	}
}
