// Package kernel asks the kernel about processes and their sockets: /proc, and sock_diag(7). It knows
// nothing of servers, and everything above it uses it to wait for facts instead of waiting for time.
package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel knows about a server, seen without its help: its descriptors and threads in
// /proc, and its sockets by sock_diag(7), which answers for one socket in microseconds
// where /proc/net/tcp lists thousands in TIME_WAIT.

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

// Socket is the part of inet_diag_msg that is of use.
type Socket struct {
	State           uint8
	Unread, Unacked uint32 // bytes not read; bytes not acknowledged. Of a listener: queue and backlog.
	Inode           uint32 // as in /proc/PID/fd
	Received        uint64 // bytes that have come in, read or not; a FIN counts as one
}

// diag finds one TCP socket by its addresses; remote is nil for a listener.
func diag(family uint8, local, remote *net.TCPAddr) (Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return Socket{}, os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()

	// nlmsghdr, then inet_diag_req_v2. Looking one socket up, the kernel takes "source" for the
	// end whose socket is wanted.
	req := make([]byte, 16+56)
	order := binary.NativeEndian
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], 20) // SOCK_DIAG_BY_FAMILY
	order.PutUint16(req[6:], unix.NLM_F_REQUEST)
	req[16], req[17] = family, unix.IPPROTO_TCP
	req[18] = 1 << (diagInfo - 1)
	order.PutUint32(req[20:], ^uint32(0)) // in any state
	putAddr := func(port, addr []byte, a *net.TCPAddr) {
		if a == nil {
			return
		}
		binary.BigEndian.PutUint16(port, uint16(a.Port))
		ip := a.IP.To4()
		if family == unix.AF_INET6 {
			ip = a.IP.To16()
		}
		copy(addr, ip)
	}
	putAddr(req[24:], req[28:44], local)
	putAddr(req[26:], req[44:60], remote)
	order.PutUint32(req[64:], ^uint32(0)) // any cookie
	order.PutUint32(req[68:], ^uint32(0))

	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return Socket{}, os.NewSyscallError("sendto", err)
	}
	resp := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, resp, 0)
	if err != nil {
		return Socket{}, os.NewSyscallError("recvfrom", err)
	}
	resp = resp[:n]
	if n < 16+72 || order.Uint16(resp[4:]) != 20 {
		return Socket{}, errNoSocket
	}
	m := resp[16:]
	d := Socket{State: m[1], Unread: order.Uint32(m[56:]), Unacked: order.Uint32(m[60:]), Inode: order.Uint32(m[68:])}
	for attrs := m[72:]; len(attrs) >= 4; {
		size, kind := int(order.Uint16(attrs)), order.Uint16(attrs[2:])
		const at = 4 + int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received))
		if kind == diagInfo && size >= at+8 && len(attrs) >= at+8 {
			d.Received = order.Uint64(attrs[at:])
		}
		attrs = attrs[min(len(attrs), max(4, (size+3)&^3)):]
	}
	return d, nil
}

const diagInfo = 2 // INET_DIAG_INFO: a tcp_info

var errNoSocket = errors.New("sock_diag: no such socket")

// Listening says whether somebody listens on the port, without making a connection.
func Listening(port int) bool {
	_, ok := Listener(port)
	return ok
}

// Listener is a socket that listens on the port.
func Listener(port int) (l Socket, ok bool) {
	for l := range Listeners(port) {
		return l, true
	}
	return Socket{}, false
}

// Listeners are the sockets that listen on the port; there may be one for each family.
func Listeners(port int) iter.Seq[Socket] {
	return func(yield func(Socket) bool) {
		for _, a := range []struct {
			family uint8
			ip     net.IP
		}{
			{unix.AF_INET, net.IPv4(127, 0, 0, 1)},
			{unix.AF_INET6, net.IPv6loopback},
			{unix.AF_INET6, net.IPv4(127, 0, 0, 1)},
		} {
			d, err := diag(a.family, &net.TCPAddr{IP: a.ip, Port: port}, nil)
			if err == nil && d.State == unix.BPF_TCP_LISTEN && !yield(d) {
				return
			}
		}
	}
}

// ServerEnd finds the server's socket of a connection: an IPv4 connection may be held by
// an IPv6 socket.
func ServerEnd(conn net.Conn) (Socket, error) {
	local, remote := conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr)
	d, err := Socket{}, errNoSocket
	if remote.IP.To4() != nil {
		d, err = diag(unix.AF_INET, local, remote)
	}
	if err != nil {
		d, err = diag(unix.AF_INET6, local, remote)
	}
	if err == nil && d.State == unix.BPF_TCP_LISTEN {
		return Socket{}, errNoSocket // where there is no connection the kernel finds who would take it
	}
	return d, err
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
