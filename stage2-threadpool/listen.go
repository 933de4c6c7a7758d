package main

import (
	"fmt"
	"net/netip"

	"fourways.example/common/cli"
	"fourways.example/common/sock"
	"golang.org/x/sys/unix"
)

// backlog limits the connections that wait in the kernel to be accepted, see listen(2).
const backlog = 4096

// Listen opens the listening sockets. This stage has one, for IPv4.
func Listen(cfg *cli.Config) ([]*sock.Listener, error) {
	l, err := listen(netip.AddrPortFrom(netip.IPv4Unspecified(), cfg.Port), cfg)
	if err != nil {
		return nil, err
	}
	return []*sock.Listener{l}, nil
}

// listen opens a socket that listens on addr. Accepted connections inherit its options,
// which saves three system calls for each connection.
func listen(addr netip.AddrPort, cfg *cli.Config) (*sock.Listener, error) {
	l, err := sock.Socket(unix.AF_INET)
	if err != nil {
		return nil, fmt.Errorf("listen on %v: %w", addr, err)
	}
	for _, step := range []func() error{
		l.ReuseAddr,
		l.NoDelay,
		l.OOBInline,
		func() error { return l.SendTimeout(cfg.HTTP.SendTimeout()) },
		func() error { return l.Bind(addr) },
		func() error { return l.Listen(backlog) },
	} {
		if err := step(); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen on %v: %w", addr, err)
		}
	}
	return l, nil
}
