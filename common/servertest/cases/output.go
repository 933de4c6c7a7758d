package cases

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
)

// fullPipe returns the write end of a full pipe that nobody reads.
func fullPipe(t *T) *os.File {
	t.Helper()
	in, out, err := kernel.FullPipe()
	if err != nil {
		t.Fatalf("a full pipe: %v", err)
	}
	t.OnEnd(func() { _, _ = in.Close(), out.Close() })
	return in
}

func outputCases() []Case {
	return []Case{
		{Name: "output-unread", IDs: []string{"output-unread"}, NoServer: true, Run: func(t *T) {
			stdout := fullPipe(t)
			stderr := fullPipe(t)
			s := t.Begin(Config{Stdout: stdout, Stderr: stderr})
			for i := range 50 {
				if err := suite.Healthy(s); err != nil {
					t.Fatalf("stdout and stderr are full pipes, request %d: %v", i+1, err)
				}
			}
			start := time.Now()
			s.Signal(syscall.SIGTERM)
			state, status, ok := s.Wait(atOnce)
			if !ok || status != 0 {
				t.Errorf("stdout and stderr are full pipes: SIGTERM: %s after %v, want exit status 0", state, time.Since(start).Round(time.Millisecond))
			}
		}},
		{Name: "output-unread-error", IDs: []string{"output-unread"}, NoServer: true, Run: func(t *T) {
			// The error message of a failed start may be lost, but the program must still exit.
			s := t.Begin(Config{})
			stderr := fullPipe(t)
			for _, c := range []struct {
				what string
				args []string
				want int
			}{
				{"a port in use", []string{"-p", strconv.Itoa(s.Port), "-R", t.Root.Dir}, 1},
				{"a bad flag", []string{"--no-such-flag"}, 2},
			} {
				status, _, _, err := t.Program.Exec(Config{Stderr: stderr}, c.args...)
				if err != nil {
					t.Fatalf("%v", err)
				}
				if status == -1 {
					t.WaitedInVain()
				}
				if status != c.want {
					t.Errorf("%s, and stderr is a full pipe: exit status %d (-1: killed while still running), want %d", c.what, status, c.want)
				}
			}
		}},
		{Name: "output-full", IDs: []string{"output-full", "output-dropped"}, NoServer: true, Run: outputFull},
	}
}

// outputFull runs a server whose log file cannot grow for a while. A limit on the file size stands for a
// full disk; the error is EFBIG instead of ENOSPC.
func outputFull(t *T) {
	const room = 20 // bytes: less than a line, so the next line of the log is torn
	dir, err := os.MkdirTemp("", "output-")
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.OnEnd(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "log")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer func() { _ = file.Close() }()
	// Besides EFBIG the kernel sends SIGXFSZ, which may kill a process. A full disk causes no signal, so the
	// server is started with SIGXFSZ ignored.
	s := t.Begin(Config{Stdout: file, Wrap: []string{"sh", "-c", `trap "" XFSZ; exec "$@"`, "sh"}})
	log := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v", err)
		}
		return string(b)
	}
	c := t.DialTo(s, DialOptions{})
	requests := 0
	ask := func() {
		requests++
		c.Request("GET", fmt.Sprintf("/healthz?request-%d.", requests)).WantBody(200, "ok")
	}
	logged := func(n int) func() bool {
		return func() bool { return regexp.MustCompile(fmt.Sprintf(`request-%d\..*\n`, n)).MatchString(log()) }
	}
	ask()
	t.Eventually("the first request is in the log", logged(1))
	var before unix.Rlimit
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, nil, &before); err != nil {
		t.Fatalf("prlimit: %v", err)
	}
	full := len(log()) + room
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(full), Max: before.Max}, nil); err != nil {
		t.Fatalf("prlimit: %v", err)
	}
	for range 10 {
		ask()
	}
	t.Eventually("the file is full", func() bool { return len(log()) == full })
	ask()
	if err := unix.Prlimit(s.PID(), unix.RLIMIT_FSIZE, &before, nil); err != nil {
		t.Fatalf("prlimit: %v", err)
	}
	ask()
	t.Eventually("when the file may grow again, the next request is in the log", logged(requests))
	c.Close()
	if err := s.Stop(); err != nil {
		t.Errorf("%v", err)
	}
	text := log()
	whole := len(regexp.MustCompile(`(?m)^\S+ .*request-\d+\..* 200 .*$`).FindAllString(text, -1))
	dropped := 0
	for _, m := range regexp.MustCompile(`(?m)^(\d+) lines? dropped\b`).FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		dropped += n
	}
	if text[full] != '\n' {
		t.Errorf("the torn line has no line end:%s", process.Indent(text[strings.LastIndex(text[:full], "\n")+1:]))
	}
	if whole+dropped != requests || dropped == 0 {
		t.Errorf("%d requests: the log has %d of them and says that %d lines were dropped:%s", requests, whole, dropped, process.Indent(text))
	}
}
