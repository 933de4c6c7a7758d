package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// A Connection is the server's end of a TCP connection.
type Connection struct {
	Socket
	Local, Remote netip.AddrPort // an IPv4 address is never mapped into IPv6
}

// Waits reports whether the connection waits in the backlog: it is complete, but the server has not accepted it. The
// kernel gives a socket its inode when it is accepted.
func (c *Connection) Waits() bool {
	return c.Inode == 0 && (c.State == unix.BPF_TCP_ESTABLISHED || c.State == unix.BPF_TCP_CLOSE_WAIT)
}

// connectionStates are the states of a connection that a server may have to do with. The kernel keeps those in
// TIME_WAIT to itself.
const connectionStates = 1<<unix.BPF_TCP_ESTABLISHED | 1<<unix.BPF_TCP_FIN_WAIT1 | 1<<unix.BPF_TCP_FIN_WAIT2 |
	1<<unix.BPF_TCP_CLOSE_WAIT | 1<<unix.BPF_TCP_LAST_ACK | 1<<unix.BPF_TCP_CLOSING

// Connections returns the server's ends of the connections to a port, those in the backlog included. It leaves out
// connections that the server has closed.
func Connections(port int) ([]Connection, error) {
	var all []Connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		some, err := dump(family, port)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
			continue // the kernel has no IPv6
		}
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// dump asks for all connections of one family whose local port is port.
func dump(family uint8, port int) ([]Connection, error) {
	fd, err := diagSocket()
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	req := diagRequest(family, unix.NLM_F_DUMP, connectionStates)
	binary.BigEndian.PutUint16(req[24:], uint16(port))
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	var all []Connection
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		some, done, err := parseDump(buf[:n])
		all = append(all, some...)
		if done || err != nil {
			return all, err
		}
	}
}

// parseDump reads one datagram of an answer. done reports whether it is the last.
func parseDump(b []byte) (all []Connection, done bool, err error) {
	for len(b) >= diagHead {
		size := int(order.Uint32(b))
		if size < diagHead || size > len(b) {
			return all, true, errors.New("sock_diag: an answer of a wrong length")
		}
		m := b[diagHead:size]
		switch order.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return all, true, nil
		case unix.NLMSG_ERROR:
			if len(m) >= 4 {
				err = os.NewSyscallError("sock_diag", unix.Errno(-int32(order.Uint32(m))))
			}
			return all, true, err
		case diagByFamily:
			if c, ok := parseConnection(m); ok {
				all = append(all, c)
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return all, false, nil
}

// parseConnection reads an inet_diag_msg with its attributes. ok is false for a connection that the server has closed.
func parseConnection(m []byte) (c Connection, ok bool) {
	if len(m) < diagMsg {
		return c, false
	}
	c.Socket = parseSocket(m)
	addr := func(b []byte) netip.Addr {
		if m[0] == unix.AF_INET {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16([16]byte(b[:16])).Unmap()
	}
	c.Local = netip.AddrPortFrom(addr(m[8:]), binary.BigEndian.Uint16(m[4:]))
	c.Remote = netip.AddrPortFrom(addr(m[24:]), binary.BigEndian.Uint16(m[6:]))
	return c, c.Inode != 0 || c.Waits()
}
