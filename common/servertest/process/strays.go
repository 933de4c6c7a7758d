package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/kernel"
)

// A process that has called setsid(2) is not in its server's group any more, and if its parent has ended, it is no descendant of
// the server. Two things find it nevertheless. This process adopts the orphans among its descendants, and each
// server has a mark in its environment, which its child processes inherit.

// markEnv is the environment variable with the mark of a guest's server.
const markEnv = "SERVERTEST_GUEST"

var (
	lastMark atomic.Int64
	// adopt makes this process the parent of its orphaned descendants instead of init, see PR_SET_CHILD_SUBREAPER in prctl(2).
	adopt = sync.OnceValue(func() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
)

// mark gives a command a mark of its own.
func mark(cmd *exec.Cmd) {
	cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d-%d", markEnv, os.Getpid(), lastMark.Add(1)))
}

// strays returns the processes with the same mark as a command that are neither this command nor its descendants, and
// their descendants.
func strays(cmd *exec.Cmd, family kernel.Family) []int {
	want := []byte(cmd.Env[len(cmd.Env)-1])
	var all []int
	for _, pid := range family[os.Getpid()] {
		if pid == cmd.Process.Pid {
			continue
		}
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for entry := range bytes.SplitSeq(env, []byte{0}) {
			if bytes.Equal(entry, want) {
				all = append(append(all, pid), family.Of(pid)...)
				break
			}
		}
	}
	return all
}

// killStrays kills the strays of a command, also those that they start meanwhile.
func killStrays(cmd *exec.Cmd) {
	killAll(func() []int { return strays(cmd, kernel.Children()) })
}

// KillAdopted kills all child processes of this process and their descendants. It is for a process whose only child has
// ended: all others are orphans.
func KillAdopted() {
	killAll(func() []int {
		family := kernel.Children()
		return family.Of(os.Getpid())
	})
}

// Adopt makes this process the parent of its orphaned descendants.
func Adopt() error { return adopt() }

// rounds bounds how often killAll looks for processes: a program may start new ones without end.
const rounds = 50

// killAll kills the processes that find returns, until it returns none.
func killAll(find func() []int) {
	for range rounds {
		found := find()
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for _, pid := range found { // ECHILD: its parent has not ended yet, so the next round finds it
			_, _ = syscall.Wait4(pid, nil, 0, nil)
		}
	}
}
