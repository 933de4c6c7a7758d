package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"

	"fourways.example/common/cli"
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
	before := nextDescriptor(t)
	if _, err := listen(first.Addr(), false, cfg); err == nil {
		t.Fatalf("%v can be listened on twice", first.Addr())
	}
	if after := nextDescriptor(t); after != before {
		t.Errorf("the next descriptor is %d, and was %d: a socket was left open", after, before)
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

// nextDescriptor is the one that the kernel gives to whoever asks next: the lowest that is free.
func nextDescriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}
