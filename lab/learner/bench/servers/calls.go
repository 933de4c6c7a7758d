package servers

import (
	"bufio"
	"context"
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

// Sleeps returns how often threads of processes have given up their CPU to wait: voluntary context switches.
func Sleeps(pids []int) (total int64) {
	for _, pid := range pids {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			_, after, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
			line, _, _ := strings.Cut(after, "\n")
			n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
			total += n
		}
	}
	return total
}

// named are the system calls that perf counts by name. It opens a descriptor for each name and thread.
var named = []string{
	"accept4", "bind", "close", "connect", "epoll_ctl", "epoll_pwait", "epoll_wait", "fcntl", "fstat", "futex", "getpeername", "getpid", "getsockname", "getsockopt", "ioctl",
	"lseek", "nanosleep", "newfstat", "newfstatat", "openat", "poll", "ppoll", "pread64", "read", "recvfrom", "recvmsg", "rt_sigreturn", "sched_yield", "sendfile64", "sendmsg",
	"sendto", "setsockopt", "shutdown", "tgkill", "write", "writev",
}

// A Tracer counts system calls with perf, or with strace where perf is not allowed to.
type Tracer struct {
	Name   string // perf or strace
	path   string
	events []string // of perf
}

// FindTracer returns a tracer that works here. The error is an *ErrMissing without one.
func FindTracer(ctx context.Context) (*Tracer, error) {
	for _, name := range []string{"perf", "strace"} {
		if t := newTracer(name); t != nil && t.try(ctx) == nil {
			return t, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, &ErrMissing{"", "system calls are not counted: neither perf nor strace can be used here; apt-get install strace"}
}

// newTracer returns the tracer with this name, or nil if it is not installed.
func newTracer(name string) *Tracer {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil
	}
	t := &Tracer{Name: name, path: path}
	for _, call := range named {
		if _, err := os.Stat("/sys/kernel/tracing/events/syscalls/sys_enter_" + call); err == nil {
			t.events = append(t.events, call)
		}
	}
	return t
}

// try counts the system calls of a shell that answers lines. The last answer arrives before strace has counted it.
func (t *Tracer) try(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", "while read line; do echo; done")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	_, err = t.Count(ctx, []int{cmd.Process.Pid}, func() error {
		for range 3 {
			_, err := io.WriteString(in, "\n")
			_, err2 := out.Read(make([]byte, 1))
			if err := errors.Join(err, err2); err != nil {
				return err
			}
		}
		return nil
	})
	_ = in.Close()
	_ = cmd.Wait()
	return err
}

// Count counts the system calls of processes while run runs, by name. The key "" has all of them.
func (t *Tracer) Count(ctx context.Context, pids []int, run func() error) (map[string]int64, error) {
	if t.Name == "perf" {
		return t.byPerf(ctx, pids, run)
	}
	return t.byStrace(ctx, pids, run)
}

// byPerf lets perf attach with its counters switched off, and then switches them on and off around run.
func (t *Tracer) byPerf(ctx context.Context, pids []int, run func() error) (map[string]int64, error) {
	commands, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	out, acks, err := os.Pipe()
	if err != nil {
		_ = commands.Close()
		return nil, err
	}
	defer func() { _ = out.Close() }()
	events := "raw_syscalls:sys_enter"
	for _, name := range t.events {
		events += ",syscalls:sys_enter_" + name
	}
	cmd := exec.CommandContext(ctx, t.path, "stat", "-x", ",", "-D", "-1", "--control", "fd:3,4", "-e", events, "-p", join(pids))
	cmd.ExtraFiles = []*os.File{commands, acks}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var text strings.Builder
	cmd.Stderr = &text
	err = cmd.Start()
	_, _ = commands.Close(), acks.Close()
	if err != nil {
		return nil, err
	}
	answers := bufio.NewReader(out)
	say := func(what string) error {
		if _, err := io.WriteString(in, what+"\n"); err != nil {
			return err
		}
		_, err := answers.ReadString('\n')
		return err
	}
	if err = say("enable"); err == nil {
		err = errors.Join(run(), say("disable"))
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // its status is that of the signal
	if err != nil {
		return nil, fmt.Errorf("perf: %w: %s", err, strings.TrimSpace(text.String()))
	}
	return parsePerf(text.String())
}

// parsePerf reads lines such as "547,,raw_syscalls:sys_enter,5474383,100.00,,".
func parsePerf(text string) (map[string]int64, error) {
	counted := map[string]int64{}
	for line := range strings.Lines(text) {
		f := strings.Split(line, ",")
		if len(f) < 3 {
			continue
		}
		n, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			continue // "<not counted>"
		}
		name := f[2]
		if name == "raw_syscalls:sys_enter" {
			name = ""
		}
		if n > 0 {
			counted[strings.TrimPrefix(name, "syscalls:sys_enter_")] = n
		}
	}
	if counted[""] == 0 {
		return nil, fmt.Errorf("perf has counted no system call: %s", strings.TrimSpace(text))
	}
	return counted, nil
}

// byStrace lets strace attach, and ends it with SIGINT, upon which it prints its table.
func (t *Tracer) byStrace(ctx context.Context, pids []int, run func() error) (map[string]int64, error) {
	table, err := os.CreateTemp("", "strace-")
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = table.Close(), os.Remove(table.Name()) }()
	cmd := exec.CommandContext(ctx, t.path, "-c", "-f", "-o", table.Name(), "-p", join(pids))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // upon SIGKILL the traced threads would stay stopped for a moment
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewReader(stderr)
	for left := len(pids); left > 0 && err == nil; {
		var line string
		if line, err = lines.ReadString('\n'); strings.Contains(line, " attached") {
			left--
		}
	}
	if err == nil {
		go func() { _, _ = io.Copy(io.Discard, lines) }()
		err = run()
	}
	_ = cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait()
	if err != nil {
		return nil, fmt.Errorf("strace: %w", err)
	}
	text, err := io.ReadAll(table)
	if err != nil {
		return nil, err
	}
	return parseStrace(string(text))
}

// parseStrace reads the table of strace -c: share, seconds, µs for each call, calls, perhaps errors, and the name.
func parseStrace(text string) (map[string]int64, error) {
	counted := map[string]int64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		n, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			continue
		}
		if name := f[len(f)-1]; name != "total" {
			counted[name] += n
			counted[""] += n
		}
	}
	if counted[""] == 0 {
		return nil, fmt.Errorf("strace has counted no system call: %s", strings.TrimSpace(text))
	}
	return counted, nil
}

func join(pids []int) string {
	var all []string
	for _, pid := range pids {
		all = append(all, strconv.Itoa(pid))
	}
	return strings.Join(all, ",")
}
