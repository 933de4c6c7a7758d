package doctor

import "unsafe"

// actionAt returns the address of action for seccomp(2).
func actionAt(action *uint32) uintptr { return uintptr(unsafe.Pointer(action)) }
