// Package cross holds what turns the agent into something that runs on a device: the targets (targets, build.sh), the
// Debian package (nfpm.yaml, deb.sh), the systemd unit, and the tools of the build (tools.mod). Its tests are the
// budgets: the size of the agent, what it may link, and that two builds are the same.
package cross
