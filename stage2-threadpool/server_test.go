package main

import (
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"fourways.example/common/cli"
	"fourways.example/common/servertest"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// TestListenFails checks that listen closes its socket after an error.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // earlier tests may close sockets meanwhile, but far fewer than this
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), cfg); err == nil {
			t.Fatalf("two sockets listen on %v", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("after %d failures to listen, %d more sockets are open", tries, more)
	}
}

// TestWork checks that a worker serves the connections of the queue one after the other, even after an error on one,
// and that it returns when the queue is closed, and not before.
func TestWork(t *testing.T) {
	cfg := newConfig(t)
	const clients = 3
	queue := make(chan sock.Conn, clients+1)
	// put puts a connection with a request into the queue, and returns the client's end.
	put := func() int {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		const request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
		if _, err := unix.Write(pair[1], []byte(request)); err != nil {
			t.Fatal(err)
		}
		cfg.Conns.Acquire()
		queue <- sock.FromFD(pair[0], netip.MustParseAddrPort("192.0.2.1:1"), false)
		return pair[1]
	}
	unix.Close(put()) // the first client has gone: the response to it fails with EPIPE
	var fds []int
	for range clients {
		fd := put()
		defer unix.Close(fd)
		// A worker that has ended must not leave the test waiting.
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
	}
	returned := make(chan bool)
	go func() {
		work(queue, cfg)
		close(returned)
	}()
	for i, fd := range fds {
		got := make([]byte, 4096)
		n, err := unix.Read(fd, got)
		if answer := string(got[:max(n, 0)]); err != nil || !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Fatalf("client %d gets %q, %v; want 200", i, answer, err)
		}
		if n, err := unix.Read(fd, got); n != 0 || err != nil {
			t.Errorf("the connection of client %d is not closed: read returns %d, %v", i, n, err)
		}
	}
	select {
	case <-returned:
		t.Error("the worker has ended before the queue is closed")
	default:
	}
	close(queue)
	<-returned
}

// newConfig returns the configuration of an empty command line.
func newConfig(t *testing.T) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, nil, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
