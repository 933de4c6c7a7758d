package trials

import (
	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// Types of other packages that almost every trial uses.
type (
	Client      = wire.Client
	Config      = process.Config
	DialOptions = process.DialOptions
	Program     = process.Program
	Response    = wire.Response
	Root        = docroot.Root
	Server      = process.Server
	T           = suite.T
)
