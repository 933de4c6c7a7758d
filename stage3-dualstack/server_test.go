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

// TestListenFails: a socket that cannot listen is closed again.
func TestListenFails(t *testing.T) {
	cfg := newConfig(t)
	first, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), false, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	const tries = 100 // what earlier tests left behind may close some of its own meanwhile
	before := len(servertest.SocketsOf(os.Getpid()))
	for range tries {
		if _, err := listen(first.Addr(), false, cfg); err == nil {
			t.Fatalf("%v can be listened on twice", first.Addr())
		}
	}
	if more := len(servertest.SocketsOf(os.Getpid())) - before; more > tries/2 {
		t.Errorf("%d times it could not listen, and %d sockets more are open", tries, more)
	}
}

// TestLacks: what a machine does not have is told from what is wrong with the command line.
func TestLacks(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EAFNOSUPPORT:  true, // no such family in the kernel
		unix.EADDRNOTAVAIL: true, // no address of it
		unix.ENOPROTOOPT:   true, // no IPV6_V6ONLY
		unix.EADDRINUSE:    false,
		unix.EACCES:        false,
	} {
		if got := lacks(fmt.Errorf("listen on [::]:8080: %w", os.NewSyscallError("bind", err))); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// newConfig is what main would make of an empty command line.
func newConfig(t *testing.T) *cli.Config {
	t.Helper()
	cfg, err := cli.New(stage, nil, func(string) string { return "" }, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
