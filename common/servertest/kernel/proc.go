// Package kernel reads the state of processes and sockets from /proc and sock_diag(7). The packages that
// import it wait for such a state instead of sleeping. It knows nothing about servers.
package kernel

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Eventually calls ok until it returns true, or until d is over. It is for a state of which the kernel sends
// no event. The pauses between two calls grow from 50 µs to 5 ms.
func Eventually(d time.Duration, ok func() bool) bool {
	late := time.Now().Add(d)
	for gap := 50 * time.Microsecond; ; gap = min(2*gap, 5*time.Millisecond) {
		if ok() {
			return true
		}
		if time.Now().After(late) {
			return false
		}
		<-time.After(gap)
	}
}

// SocketsOf returns the open sockets of a process in the form "socket:[1234]", where 1234 is the inode. It
// returns none if the process has ended or may not be read.
func SocketsOf(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var sockets []string
	for _, fd := range fds {
		if to, err := os.Readlink(dir + "/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			sockets = append(sockets, to)
		}
	}
	return sockets
}

// Descendants returns the descendants of a process, parents before children.
func Descendants(pid int) []int { return Children().Of(pid) }

// A Family has the child processes of each process.
type Family map[int][]int

// Children reads the state of all processes once.
func Children() Family {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := Family{}
	for _, path := range stats {
		f := Stat(path)
		if len(f) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		children[parent] = append(children[parent], child)
	}
	return children
}

// Of returns the descendants of a process, parents before children.
func (children Family) Of(pid int) []int {
	var all []int
	next := children[pid]
	for len(next) > 0 {
		all = append(all, next...)
		var after []int
		for _, p := range next {
			after = append(after, children[p]...)
		}
		next = after
	}
	return all
}

// Stat returns the fields of a stat file after the name of the process. The first field is the state.
func Stat(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	if i := bytes.LastIndexByte(b, ')'); i >= 0 {
		return strings.Fields(string(b[i+1:]))
	}
	return nil
}

// SystemCalls names the system calls in which a server may be. The numbers differ between
// architectures, so they come from x/sys. Variants of a call have the same name.
var SystemCalls = map[int64]string{
	unix.SYS_PPOLL: "poll", unix.SYS_PSELECT6: "select", unix.SYS_EPOLL_PWAIT: "epoll_wait",
	unix.SYS_RECVFROM: "recvfrom", unix.SYS_RECVMSG: "recvmsg", unix.SYS_READ: "read", unix.SYS_READV: "readv",
	unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev",
	unix.SYS_SENDFILE: "sendfile", unix.SYS_ACCEPT: "accept", unix.SYS_ACCEPT4: "accept4",
	unix.SYS_FUTEX: "futex", unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_CLOCK_NANOSLEEP: "clock_nanosleep",
	unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_CLOSE: "close", unix.SYS_RT_SIGTIMEDWAIT: "sigtimedwait",
	unix.SYS_WAITID: "waitid", unix.SYS_WAIT4: "wait4", unix.SYS_SCHED_YIELD: "sched_yield",
}

func init() {
	if runtime.GOARCH == "amd64" { // amd64 also has older calls, which newer architectures lack
		SystemCalls[2], SystemCalls[7], SystemCalls[23], SystemCalls[232] = "open", "poll", "select", "epoll_wait"
	}
}
