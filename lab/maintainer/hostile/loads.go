package hostile

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/wire"
)

// A load is a kind of hostile client.
type load struct {
	name, what string
	first      string                            // what a client sends when it has connected
	again      func(ctx context.Context, c conn) // what it does then, until the server or ctx ends it
}

// tick is the time between two steps of a slow client.
const tick = time.Second

var loads = []load{
	{"silent", "connect and send nothing", "", stay},
	{"heads", "send one byte of a request head per second", "GET / HTTP/1.1\r\nHost: localhost\r\nX: ", drip},
	{
		"bodies", "send most of a body of 30 KB, then one byte per second",
		"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n\r\n" + strings.Repeat("x", 20_000), drip,
	},
	{"readers", "read 1 KB per second of a file of 24 MB", wire.Request("GET", "/big.bin", ""), sip},
	{"deaf", "ask for a file of 24 MB and read nothing", wire.Request("GET", "/big.bin", ""), stay},
}

type conn = *net.TCPConn

// stay waits until the server closes the connection. It reads nothing: the kernel reports only a reset.
func stay(ctx context.Context, c conn) {
	for ctx.Err() == nil && !gone(c) {
		pause(ctx)
	}
}

// drip sends one byte at each tick.
func drip(ctx context.Context, c conn) {
	for pause(ctx) {
		if _, err := io.WriteString(c, "x"); err != nil || gone(c) {
			return
		}
	}
}

// sip reads 1 KB at each tick.
func sip(ctx context.Context, c conn) {
	b := make([]byte, 1<<10)
	for pause(ctx) {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// pause waits for a tick. It returns false if ctx ends first.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(tick):
		return true
	}
}

// gone reports whether the server has ended the connection: a FIN or a reset has arrived.
func gone(c conn) bool {
	state := uint8(0)
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	const established = 1 // TCP_ESTABLISHED in include/net/tcp_states.h
	return err != nil || state != established
}

// A crowd is the hostile clients of one load. A client that the server closes connects again.
type crowd struct {
	server *process.Server
	load   load
	open   atomic.Int64 // how many are connected
	failed atomic.Pointer[error]
	all    sync.WaitGroup
}

// start starts the clients. It returns at once. They end with ctx.
func (c *crowd) start(ctx context.Context, clients int) {
	dialing := make(chan struct{}, 64) // so that the clients do not fill the backlog of the server
	for i := range clients {
		c.all.Go(func() {
			for ctx.Err() == nil {
				dialing <- struct{}{}
				conn, err := c.dial(i)
				<-dialing
				if err != nil {
					c.failed.CompareAndSwap(nil, &err)
					pause(ctx)
					continue
				}
				c.open.Add(1)
				if _, err := io.WriteString(conn, c.load.first); err == nil {
					stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
					c.load.again(ctx, conn)
					stop()
				}
				_ = conn.SetLinger(0)
				_ = conn.Close()
				c.open.Add(-1)
			}
		})
	}
}

// err returns the first error of a client that could not connect, or nil.
func (c *crowd) err() error {
	if err := c.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// wait waits until all clients have left.
func (c *crowd) wait() { c.all.Wait() }

// dial connects hostile client number i, from one of several addresses so that the ports suffice. Its window is small,
// so that most of a large response stays in the server.
func (c *crowd) dial(i int) (conn, error) {
	return c.server.Dial(process.DialOptions{RecvBuf: 4096, From: net.IPv4(127, 0, 0, byte(2+i%8))})
}
