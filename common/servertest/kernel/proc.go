// Package kernel asks the kernel about processes and their sockets: /proc, and sock_diag(7). It knows
// nothing of servers, and everything above it uses it to wait for facts instead of waiting for time.
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

// Eventually asks until the answer is yes. It is for what the kernel knows and does not tell:
// the gaps between two questions grow from 50 µs to 5 ms.
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

// SocketsOf are the descriptors of a process that are sockets, by inode: "socket:[1234]". There are none
// where the process is gone, or not ours to look at.
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

// Offspring are the processes that descend from one, parents before children.
func Offspring(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, path := range stats {
		f := Stat(path)
		if len(f) < 2 {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		children[parent] = append(children[parent], child)
	}
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

// Stat is the fields of a stat file behind the name, of which the first is the state.
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

// SystemCalls are the system calls in which a server may be met. The numbers are the machine's own, which is
// why x/sys has them and this file does not.
var SystemCalls = map[int64]string{
	unix.SYS_PPOLL: "poll", unix.SYS_PSELECT6: "select", unix.SYS_EPOLL_PWAIT: "epoll_wait",
	unix.SYS_RECVFROM: "recvfrom", unix.SYS_RECVMSG: "recvmsg", unix.SYS_READ: "read", unix.SYS_READV: "readv",
	unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev",
	unix.SYS_SENDFILE: "sendfile", unix.SYS_ACCEPT: "accept", unix.SYS_ACCEPT4: "accept4",
	unix.SYS_FUTEX: "futex", unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_CLOCK_NANOSLEEP: "clock_nanosleep",
	unix.SYS_OPENAT: "openat", unix.SYS_CLOSE: "close", unix.SYS_RT_SIGTIMEDWAIT: "sigtimedwait",
	unix.SYS_WAITID: "waitid", unix.SYS_WAIT4: "wait4", unix.SYS_SCHED_YIELD: "sched_yield",
}

func init() {
	if runtime.GOARCH == "amd64" { // it has older calls besides, which other machines never had
		SystemCalls[2], SystemCalls[7], SystemCalls[23], SystemCalls[232] = "open", "poll", "select", "epoll_wait"
	}
}
