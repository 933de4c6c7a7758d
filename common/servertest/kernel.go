package servertest

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

// diagSocket is the part of inet_diag_msg that is of use.
type diagSocket struct {
	state          uint8
	rqueue, wqueue uint32 // bytes not read; bytes not acknowledged. Of a listener: queue and backlog.
	inode          uint32 // as in /proc/PID/fd
	received       uint64 // bytes that have come in, read or not; a FIN counts as one
}

// diag finds one TCP socket by its addresses; remote is nil for a listener.
func diag(family uint8, local, remote *net.TCPAddr) (diagSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return diagSocket{}, os.NewSyscallError("socket", err)
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
		return diagSocket{}, os.NewSyscallError("sendto", err)
	}
	resp := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, resp, 0)
	if err != nil {
		return diagSocket{}, os.NewSyscallError("recvfrom", err)
	}
	resp = resp[:n]
	if n < 16+72 || order.Uint16(resp[4:]) != 20 {
		return diagSocket{}, errNoSocket
	}
	m := resp[16:]
	d := diagSocket{state: m[1], rqueue: order.Uint32(m[56:]), wqueue: order.Uint32(m[60:]), inode: order.Uint32(m[68:])}
	for attrs := m[72:]; len(attrs) >= 4; {
		size, kind := int(order.Uint16(attrs)), order.Uint16(attrs[2:])
		const at = 4 + int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received))
		if kind == diagInfo && size >= at+8 && len(attrs) >= at+8 {
			d.received = order.Uint64(attrs[at:])
		}
		attrs = attrs[min(len(attrs), max(4, (size+3)&^3)):]
	}
	return d, nil
}

const diagInfo = 2 // INET_DIAG_INFO: a tcp_info

var errNoSocket = errors.New("sock_diag: no such socket")

// listening says whether somebody listens on the port, without making a connection.
func listening(port int) bool {
	_, ok := listener(port)
	return ok
}

// listener is a socket that listens on the port.
func listener(port int) (l diagSocket, ok bool) {
	for l := range listeners(port) {
		return l, true
	}
	return diagSocket{}, false
}

// listeners are the sockets that listen on the port; there may be one for each family.
func listeners(port int) iter.Seq[diagSocket] {
	return func(yield func(diagSocket) bool) {
		for _, a := range []struct {
			family uint8
			ip     net.IP
		}{
			{unix.AF_INET, net.IPv4(127, 0, 0, 1)},
			{unix.AF_INET6, net.IPv6loopback},
			{unix.AF_INET6, net.IPv4(127, 0, 0, 1)},
		} {
			d, err := diag(a.family, &net.TCPAddr{IP: a.ip, Port: port}, nil)
			if err == nil && d.state == unix.BPF_TCP_LISTEN && !yield(d) {
				return
			}
		}
	}
}

// serverEnd finds the server's socket of a connection: an IPv4 connection may be held by
// an IPv6 socket.
func serverEnd(conn net.Conn) (diagSocket, error) {
	local, remote := conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr)
	d, err := diagSocket{}, errNoSocket
	if remote.IP.To4() != nil {
		d, err = diag(unix.AF_INET, local, remote)
	}
	if err != nil {
		d, err = diag(unix.AF_INET6, local, remote)
	}
	if err == nil && d.state == unix.BPF_TCP_LISTEN {
		return diagSocket{}, errNoSocket // where there is no connection the kernel finds who would take it
	}
	return d, err
}

// offspring are the processes that descend from one, parents before children.
func offspring(pid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, path := range stats {
		f := stat(path)
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

// stat is the fields of a stat file behind the name, of which the first is the state.
func stat(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	if i := bytes.LastIndexByte(b, ')'); i >= 0 {
		return strings.Fields(string(b[i+1:]))
	}
	return nil
}

// calls are the system calls in which a server may be met. The numbers are the machine's own, which is
// why x/sys has them and this file does not.
var calls = map[int64]string{
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
		calls[2], calls[7], calls[23], calls[232] = "open", "poll", "select", "epoll_wait"
	}
}
