package main

import (
	"io"
	"net/netip"
	"os"
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

// TestHandleReleases checks that handle closes the connection and gives its slot back.
func TestHandleReleases(t *testing.T) {
	cfg := newConfig(t, "--max-conns", "1")
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Close(pair[1]); err != nil { // the client leaves at once
		t.Fatal(err)
	}
	cfg.Conns.Acquire()
	conn := cfg.HTTP.NewWorker().Open(sock.FromFD(pair[0], netip.MustParseAddrPort("192.0.2.1:1"), false))
	handle(&conn, cfg)
	if _, err := unix.FcntlInt(uintptr(pair[0]), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("the connection is not closed: fcntl returns %v", err)
	}
	cfg.Conns.OnFull(func() { t.Error("the slot of the connection is not given back"); cfg.Conns.Release() })
	cfg.Conns.Acquire()
}

// newConfig returns the configuration of a command line.
func newConfig(t *testing.T, args ...string) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, args, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
