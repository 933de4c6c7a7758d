package load

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// A client is one client of a group, with one connection at a time.
type client struct {
	group  *group
	number int
	fd     int   // −1 without a connection
	gen    int32 // tells a connection from an earlier one with the same descriptor

	connecting bool
	served     bool
	connected  bool
	sentAt     int64  // when the batch under way began; 0 without one
	unsent     []byte // the rest of the request
	due        int    // responses of the batch that have not ended
	batches    int    // on this connection

	response
}

// connect starts a connection and sends the first request at once: on loopback connect(2) has usually done all of the
// handshake when it returns.
func (e *Engine) connect(c *client) {
	if c.sentAt == 0 {
		c.sentAt = e.now()
	}
	fd, err := open(c.group.Addr, c.number, c.group.BytesPerSecond > 0)
	if err != nil {
		e.fail(c, err)
		return
	}
	e.gen++
	c.fd, c.gen, c.batches, c.response = fd, e.gen, 0, response{}
	for len(e.byFD) <= fd {
		e.byFD = append(e.byFD, nil)
	}
	e.byFD[fd] = c
	c.connecting = true
	e.connecting++
	c.unsent, c.due = c.group.Request, c.group.Batch
	if !e.flush(c) {
		return
	}
	if len(c.unsent) > 0 {
		e.watch(c, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
		return
	}
	e.watch(c, unix.EPOLL_CTL_ADD, c.interest())
}

// interest is what a connection waits for when its request is sent. A slow reader has a clock instead.
func (c *client) interest() uint32 {
	if c.group.BytesPerSecond > 0 {
		return 0
	}
	return unix.EPOLLIN
}

func (e *Engine) watch(c *client, op int, events uint32) {
	ev := unix.EpollEvent{Events: events, Fd: int32(c.fd), Pad: c.gen}
	if err := unix.EpollCtl(e.epoll, op, c.fd, &ev); err != nil {
		e.fail(c, fmt.Errorf("epoll_ctl: %w", err))
	}
}

// serve handles an event.
func (e *Engine) serve(c *client, events uint32) {
	if len(c.unsent) > 0 {
		if !e.flush(c) || len(c.unsent) > 0 {
			return
		}
		e.watch(c, unix.EPOLL_CTL_MOD, c.interest())
		return
	}
	if c.group.BytesPerSecond > 0 && events&(unix.EPOLLERR|unix.EPOLLHUP) == 0 {
		return
	}
	e.read(c, e.buf)
}

// flush sends what is left of the request. It returns false if the connection has failed.
func (e *Engine) flush(c *client) bool {
	n, err := send(c.fd, c.unsent)
	if err == unix.EAGAIN || err == unix.ENOTCONN || err == unix.EINTR {
		return true
	}
	if c.connecting {
		c.connecting = false
		e.connecting--
	}
	if err != nil {
		e.fail(c, fmt.Errorf("send: %w", err))
		return false
	}
	if !c.connected {
		c.connected = true
		c.group.Connected++
	}
	c.unsent = c.unsent[n:]
	return true
}

// read reads once and takes the responses that have arrived.
func (e *Engine) read(c *client, buf []byte) {
	n, err := recv(c.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil:
		e.fail(c, fmt.Errorf("recv: %w", err))
		return
	case n == 0 && c.due == 0:
		e.reconnect(c) // the server has closed an idle connection, as it may
		return
	case n == 0:
		e.fail(c, errors.New("the server closed the connection before the end of the response"))
		return
	}
	c.group.Bytes += int64(n)
	rest := buf[:n]
	for len(rest) > 0 {
		var done bool
		rest, done, err = c.take(rest)
		if err != nil {
			e.fail(c, err)
			return
		}
		if !done {
			continue
		}
		if c.due == 0 {
			e.fail(c, errors.New("a response without a request"))
			return
		}
		c.due--
		c.group.Responses++
		if c.status != 200 {
			c.group.Errors++
			c.group.LastError = fmt.Sprintf("status %d", c.status)
		}
	}
	if c.due == 0 {
		e.finish(c)
	}
}

// finish ends a batch and begins the next one.
func (e *Engine) finish(c *client) {
	now := e.now()
	_ = c.group.Latency.RecordValue(now - c.sentAt)
	if !c.served {
		c.served = true
		c.group.Served++
	}
	c.batches++
	c.sentAt = 0
	if c.group.Once {
		return
	}
	if c.closes || c.batches == c.group.PerConn {
		e.reconnect(c)
		return
	}
	c.sentAt = now
	c.unsent, c.due = c.group.Request, c.group.Batch
	if e.flush(c) && len(c.unsent) > 0 {
		e.watch(c, unix.EPOLL_CTL_MOD, unix.EPOLLOUT)
	}
}

// drop closes the connection.
func (e *Engine) drop(c *client) {
	if c.connecting {
		c.connecting = false
		e.connecting--
	}
	if c.fd >= 0 {
		e.byFD[c.fd] = nil
		_ = unix.Close(c.fd)
		c.fd = -1
	}
	c.due, c.unsent = 0, nil
}

// reconnect closes the connection and opens a new one at once.
func (e *Engine) reconnect(c *client) {
	e.drop(c)
	if e.connecting >= maxConnecting {
		e.toConnect = append(e.toConnect, c)
		return
	}
	e.connect(c)
}

// fail counts an error. The client connects again a little later; its request is as old as before.
func (e *Engine) fail(c *client, err error) {
	e.drop(c)
	c.group.Errors++
	c.group.LastError = err.Error()
	e.retries = append(e.retries, retry{e.now() + int64(retryDelay), c})
}

// open returns a socket whose connection is under way. Clients of IPv4 have 64 different addresses of loopback,
// because one address has only the 28,000 ports of ip_local_port_range for one server, and the last minute's
// connections occupy some of them in TIME_WAIT.
func open(to netip.AddrPort, number int, small bool) (fd int, err error) {
	family := unix.AF_INET6
	if to.Addr().Is4() {
		family = unix.AF_INET
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
		}
	}()
	if small { // before connect(2), so that the window is small from the first byte
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096); err != nil {
			return -1, fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
		// The kernel chooses the port in connect(2), when it knows the other address.
		if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return -1, fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(2 + number%64)}}); err != nil {
			return -1, fmt.Errorf("bind: %w", err)
		}
	}
	if err := unix.Connect(fd, sa); err != nil && err != unix.EINPROGRESS {
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}
