package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"

	"fourways.example/common/cli"
	"fourways.example/common/servertest"
	"golang.org/x/sys/unix"
)

// TestListenFails checks that listen closes its socket after an error.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), false, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // earlier tests may close sockets meanwhile, but far fewer than this
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), false, cfg); err == nil {
			t.Fatalf("two sockets listen on %v", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("after %d failures to listen, %d more sockets are open", tries, more)
	}
}

// TestLacks checks that lacks tells a missing address family from an error in the command line.
func TestLacks(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EAFNOSUPPORT:  true, // the kernel does not have the family
		unix.EADDRNOTAVAIL: true, // the family has no address
		unix.ENOPROTOOPT:   true, // the kernel does not have IPV6_V6ONLY
		unix.EADDRINUSE:    false,
		unix.EACCES:        false,
	} {
		if got := lacks(fmt.Errorf("listen on [::]:8080: %w", os.NewSyscallError("bind", err))); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
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
