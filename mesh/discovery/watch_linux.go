package discovery

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// hint tells whenever the kernel says that a link or an address has changed, until stop is called. What it says is not read:
// it may have been too much for the socket, and the whole is looked at anyhow.
func hint(ctx context.Context, hints chan<- struct{}) (stop func(), err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return func() {}, fmt.Errorf("netlink: %w", err)
	}
	file := os.NewFile(uintptr(fd), "netlink")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{
		Family: unix.AF_NETLINK, Groups: unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV6_IFADDR,
	}); err != nil {
		file.Close()
		return func() {}, fmt.Errorf("netlink: %w", err)
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		buffer := make([]byte, 4096)
		for ctx.Err() == nil {
			if _, err := file.Read(buffer); err != nil {
				pause(ctx, time.Second) // closed, or messages were lost: then it is time to look as well
			}
			select {
			case hints <- struct{}{}:
			default:
			}
		}
	})
	closing := context.AfterFunc(ctx, func() { file.Close() })
	return func() { closing(); file.Close(); reader.Wait() }, nil
}
