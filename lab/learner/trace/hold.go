package trace

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// holdTime is how long a thread is held. A scenario that needs more time ends differently, and its picture says so.
const holdTime = 3 * time.Second

// hold stops a thread of a server that runs under strace when it is about to call epoll_wait(2), and lets the other
// threads run. The strace that traces all threads is replaced by two: one for this thread, which delays the thread's
// next call, and one for the others. The delay has a fixed length, so there is nothing to release.
func (r *recorder) hold(pid, thread int) (release func(), err error) {
	if err := detach(pid, tracerOf(pid, thread)); err != nil {
		return nil, err
	}
	r.files[0].over = true
	// To attach interrupts the call that the thread waits in. The delayed call is the one after it.
	delay := fmt.Sprintf("inject=?epoll_wait,?epoll_pwait:delay_enter=%d:when=1", holdTime.Microseconds())
	if err := r.attach(pid, thread, "strace.held", "-e", delay); err != nil {
		return nil, err
	}
	others := slices.DeleteFunc(tasks(pid), func(tid int) bool { return tid == thread })
	if err := r.attach(pid, others[0], "strace.others", "-f"); err != nil {
		return nil, err
	}
	return func() {}, nil
}

// attach starts a strace for a thread, and returns when it traces the thread.
func (r *recorder) attach(pid, thread int, file string, flags ...string) error {
	file = filepath.Join(r.dir, file)
	cmd := exec.Command("strace", slices.Concat(options(file), flags, []string{"-p", strconv.Itoa(thread)})...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	if !kernel.Eventually(process.Patience, func() bool { return tracerOf(pid, thread) == cmd.Process.Pid }) {
		_ = cmd.Process.Kill()
		return fmt.Errorf("strace does not attach to thread %d", thread)
	}
	o := output{path: file, thread: thread}
	if slices.Contains(flags, "-f") {
		o.thread = 0
	}
	r.files = append(r.files, o)
	return nil
}

// detach ends a strace, and returns when it traces no thread of the process.
func detach(pid, tracer int) error {
	if tracer == 0 {
		return fmt.Errorf("process %d runs under no strace", pid)
	}
	if err := syscall.Kill(tracer, syscall.SIGKILL); err != nil {
		return os.NewSyscallError("kill", err)
	}
	if !kernel.Eventually(process.Patience, func() bool {
		return !slices.ContainsFunc(tasks(pid), func(tid int) bool { return tracerOf(pid, tid) != 0 })
	}) {
		return fmt.Errorf("strace does not let go of process %d", pid)
	}
	return nil
}

// tasks returns the threads of a process.
func tasks(pid int) (all []int) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, tid)
		}
	}
	return all
}

// tracerOf returns the process that traces a thread, or 0.
func tracerOf(pid, thread int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, thread))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "TracerPid:"); ok {
			tracer, _ := strconv.Atoi(strings.TrimSpace(value))
			return tracer
		}
	}
	return 0
}
