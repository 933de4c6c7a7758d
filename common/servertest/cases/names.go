package cases

import (
	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/process"
	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// The words that every case is written in.
type (
	Case        = suite.Case
	Client      = wire.Client
	Config      = process.Config
	DialOptions = process.DialOptions
	Program     = process.Program
	Response    = wire.Response
	Root        = docroot.Root
	Server      = process.Server
	T           = suite.T
)
