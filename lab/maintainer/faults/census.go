package faults

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/stages"
)

// exempt lists the system calls that have no row, by the reason.
var exempt = map[string][]string{
	"the program's start, before main": {
		"execve", "access", "arch_prctl", "brk", "set_tid_address", "set_robust_list", "rseq", "mprotect", "prctl", "getrandom",
	},
	"the Go runtime's threads, signals and memory; it ends the process if one of them fails": {
		"mmap", "munmap", "madvise", "futex", "sigaltstack", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "restart_syscall",
	},
	"cannot fail, or its result is not used": {
		"getpid", "gettid", "tgkill", "nanosleep", "sched_yield", "exit", "exit_group", "uname",
	},
	"the Go runtime asks for the mode of a descriptor, and goes on without it": {"fcntl"},
	"the Go runtime reads facts about the machine, and its own eventfd":        {"read"},
	"fails only for wrong arguments":                                           {"getrusage"},
}

// covered returns the calls that have a row or are exempt.
func covered() map[string]bool {
	all := map[string]bool{}
	for _, names := range exempt {
		for _, name := range names {
			all[name] = true
		}
	}
	for _, r := range rows() {
		for name := range strings.SplitSeq(r.call, ", ") {
			all[name] = true
		}
	}
	return all
}

// census starts a stage, makes requests of every kind, and stops it. It returns the calls that the process has made
// and that have neither a row nor an exemption.
func census(stage int, bin string, root *docroot.Root) (missing []string, err error) {
	dir, err := os.MkdirTemp("", "faults-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	out := filepath.Join(dir, "calls")
	t := trial{row: &row{}, stage: stage, bin: bin, root: root, dir: dir}
	if err := t.begin("strace", "-D", "-f", "-qq", "-e", "signal=none", "-o", out); err != nil {
		return nil, err
	}
	defer t.server.Kill()
	if err := t.requests(); err != nil {
		return nil, fmt.Errorf("stage %d under strace: %w", stage, err)
	}
	if err := t.server.Stop(); err != nil {
		return nil, err
	}
	known := covered()
	for _, name := range slices.Sorted(maps.Keys(callsIn(out))) {
		if !known[name] {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// requests makes requests of every kind.
func (t *trial) requests() error {
	var errs []error
	for _, step := range []struct {
		before func(*trial) error
		act    func(*trial) string
	}{
		{connected, get("/plain.txt", 200)},
		{connected, get("/nothing/there.txt", 404)},
		{connected, get("/sub", 301)},
		{connected, get("/private/secret.txt", 403)},
		{connected, get("/link-in.txt", 200)},
		{connected, get("/loadavg", 200)},
		{connected, get("/meminfo", 200)},
		{connected, videos},
		{connected, expects},
		{connected, bad},
		{connected, leaves("/large.bin")},
		{half, post},
		{refused, more},
		{deaf("/medium.bin", "Connection: close"), halfClosed},
	} {
		if err := step.before(t); err != nil {
			return err
		}
		if got := step.act(t); got != nothing {
			errs = append(errs, errors.New(got))
		}
		t.victim.close()
	}
	return errors.Join(errs...)
}

// callsIn returns the names of the calls in the output of strace, which writes "???" for a call that it has
// not seen begin.
func callsIn(out string) map[string]bool {
	all := map[string]bool{}
	b, _ := os.ReadFile(out)
	for line := range bytes.Lines(b) {
		_, call, _ := bytes.Cut(line, []byte(" "))
		name, _, found := bytes.Cut(bytes.TrimLeft(call, " "), []byte("("))
		if found && !bytes.ContainsAny(name, " <+?") {
			all[string(name)] = true
		}
	}
	return all
}

// checkCensus returns an error that names the calls without a row.
func checkCensus(all []int, bins string, root *docroot.Root) error {
	var errs []error
	for _, stage := range all {
		missing, err := census(stage, filepath.Join(bins, stages.Dirs[stage]), root)
		if err != nil {
			errs = append(errs, err)
		}
		if len(missing) > 0 {
			errs = append(errs, fmt.Errorf("stage %d makes system calls that have no row: %s", stage, strings.Join(missing, ", ")))
		}
	}
	return errors.Join(errs...)
}
