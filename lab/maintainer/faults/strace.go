package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// An injection makes system calls of a server fail. strace(1) replaces each call by one that does nothing, and
// returns the error.
type injection struct {
	calls []string // the names of the calls, such as "recvfrom"
	fault string   // "ENOMEM", or "0" for a call that succeeds and returns 0
	when  string   // which calls of each thread fail, counted from 1; "" means all
	on    []string // only calls with these descriptors, as "socket:[INODE]" or a path; empty means all
}

// flags returns the arguments of strace that follow those about the process.
func (i injection) flags(out string) []string {
	effect := "error=" + i.fault
	if i.fault == "0" {
		effect = "retval=0"
	}
	when := i.when
	if when == "" {
		when = "1+"
	}
	calls := "?" + strings.Join(i.calls, ",?") // "?" ignores a call that this architecture does not have
	args := []string{
		"-f", "-o", out, "-e", "signal=none", "-e", "trace=" + calls,
		"-e", "inject=" + calls + ":" + effect + ":when=" + when,
	}
	for _, path := range i.on {
		args = append(args, "-P", path)
	}
	return args
}

// straceMissing says why strace cannot be used here, and how to get it. It returns nil if strace works.
func straceMissing() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return errors.New("strace is missing, which makes the system calls fail; on Debian: apt-get install strace")
	}
	if out, err := exec.Command("strace", "-qq", "-e", "inject=getpid:error=EPERM", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		return fmt.Errorf("strace does not work here: %s; it needs ptrace(2), which a container may forbid, and version 4.16 or later",
			strings.TrimSpace(string(out)))
	}
	return nil
}

// A tracer is a strace that is attached to a running server.
type tracer struct {
	cmd  *exec.Cmd
	out  string // the file with one line for each call
	done chan struct{}
}

// attach makes the calls of the process pid fail from now on. It returns when strace has stopped and continued
// every thread of the process, so no later call escapes.
func attach(pid int, i injection, dir string) (*tracer, error) {
	t := &tracer{out: filepath.Join(dir, "calls"), done: make(chan struct{})}
	t.cmd = exec.Command("strace", append(i.flags(t.out), "-p", strconv.Itoa(pid))...)
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := t.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	first, _ := lines.ReadString('\n')
	go func() {
		defer close(t.done)
		_, _ = io.Copy(io.Discard, lines)
		_ = t.cmd.Wait()
	}()
	if !strings.Contains(first, "attached") {
		t.detach()
		return nil, fmt.Errorf("strace does not attach: %s", strings.TrimSpace(first))
	}
	return t, nil
}

// detach ends strace. The process continues, and its calls succeed again.
func (t *tracer) detach() {
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-t.done:
	case <-time.After(5 * time.Second):
		_ = t.cmd.Process.Kill()
		<-t.done
	}
}

// hits returns how many calls have failed. It is complete once strace has ended.
func hits(out string) int {
	b, _ := os.ReadFile(out)
	return bytes.Count(b, []byte("(INJECTED)"))
}
