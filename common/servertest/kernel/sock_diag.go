package kernel

import (
	"encoding/binary"
	"errors"
	"iter"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file finds sockets with sock_diag(7), which returns one socket within microseconds. /proc/net/tcp
// would list thousands of sockets in TIME_WAIT as well.

// Socket is the part of inet_diag_msg that the tests use.
type Socket struct {
	State           uint8
	Unread, Unacked uint32 // bytes not read and bytes not acknowledged; for a listener the length of its queue and its backlog
	Inode           uint32 // as in /proc/PID/fd
	Received        uint64 // bytes that have arrived, read or not; a FIN counts as one
}

const (
	// diagByFamily is SOCK_DIAG_BY_FAMILY, the type of requests and of answers.
	diagByFamily = 20
	// diagHead, diagReq and diagMsg are the sizes of nlmsghdr, inet_diag_req_v2 and inet_diag_msg.
	diagHead, diagReq, diagMsg = 16, 56, 72
	// diagAny is any cookie, half of it, or any set of states.
	diagAny = ^uint32(0)
)

// order is the byte order of netlink. Addresses and ports are big-endian nevertheless.
var order = binary.NativeEndian

// diagRequest returns a request for TCP sockets of a family in the given states.
func diagRequest(family uint8, flags uint16, states uint32) []byte {
	req := make([]byte, diagHead+diagReq)
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], diagByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|flags)
	req[16], req[17] = family, unix.IPPROTO_TCP
	req[18] = 1 << (diagInfo - 1)
	order.PutUint32(req[20:], states)
	order.PutUint32(req[64:], diagAny)
	order.PutUint32(req[68:], diagAny)
	return req
}

// diagSocket opens a netlink socket for sock_diag. The caller must close it.
func diagSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	return fd, os.NewSyscallError("socket", err)
}

// diag finds one TCP socket by its addresses. For a listener remote is nil.
func diag(family uint8, local, remote *net.TCPAddr) (Socket, error) {
	fd, err := diagSocket()
	if err != nil {
		return Socket{}, err
	}
	defer func() { _ = unix.Close(fd) }()

	// In a request for one socket, "source" is the local address of this socket.
	req := diagRequest(family, 0, diagAny)
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
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return Socket{}, os.NewSyscallError("sendto", err)
	}
	resp := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, resp, 0)
	if err != nil {
		return Socket{}, os.NewSyscallError("recvfrom", err)
	}
	resp = resp[:n]
	if n < diagHead+diagMsg || order.Uint16(resp[4:]) != diagByFamily {
		return Socket{}, ErrNoSocket
	}
	return parseSocket(resp[diagHead:]), nil
}

// parseSocket reads an inet_diag_msg with its attributes.
func parseSocket(m []byte) Socket {
	d := Socket{State: m[1], Unread: order.Uint32(m[56:]), Unacked: order.Uint32(m[60:]), Inode: order.Uint32(m[68:])}
	for attrs := m[diagMsg:]; len(attrs) >= 4; {
		size, kind := int(order.Uint16(attrs)), order.Uint16(attrs[2:])
		const at = 4 + int(unsafe.Offsetof(unix.TCPInfo{}.Bytes_received))
		if kind == diagInfo && size >= at+8 && len(attrs) >= at+8 {
			d.Received = order.Uint64(attrs[at:])
		}
		attrs = attrs[min(len(attrs), max(4, (size+3)&^3)):]
	}
	return d
}

const diagInfo = 2 // INET_DIAG_INFO: a tcp_info

// ErrNoSocket means that there is no socket with these addresses.
var ErrNoSocket = errors.New("sock_diag: no such socket")

// Listening reports whether a socket listens on the port. It makes no connection.
func Listening(port int) bool {
	_, ok := Listener(port)
	return ok
}

// Listener returns a socket that listens on the port.
func Listener(port int) (l Socket, ok bool) {
	for l := range Listeners(port) {
		return l, true
	}
	return Socket{}, false
}

// Listeners returns the sockets that listen on the port. There may be one for each family.
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

// AllRead reports whether the server has read the first n bytes that came over a connection and has
// nothing left to read, or its socket is gone.
func AllRead(conn net.Conn, n int64) bool {
	end, err := ServerEnd(conn)
	return err != nil || end.Unread == 0 && end.Received >= uint64(n)
}

// ServerEnd returns the server's socket of a connection. It also finds an IPv6 socket that serves an IPv4
// connection.
func ServerEnd(conn net.Conn) (Socket, error) {
	local, remote := conn.RemoteAddr().(*net.TCPAddr), conn.LocalAddr().(*net.TCPAddr)
	d, err := Socket{}, ErrNoSocket
	if remote.IP.To4() != nil {
		d, err = diag(unix.AF_INET, local, remote)
	}
	if err != nil {
		d, err = diag(unix.AF_INET6, local, remote)
	}
	if err == nil && d.State == unix.BPF_TCP_LISTEN {
		return Socket{}, ErrNoSocket // without a connection the kernel returns the listener for these addresses
	}
	return d, err
}
