package doctor

import "unsafe"

// actionAt is the address that seccomp(2) reads the action from.
func actionAt(action *uint32) uintptr { return uintptr(unsafe.Pointer(action)) }
