// Package ci is pipelines that publish releases without a stored secret: for GitHub Actions and GitLab CI, with the script
// that both call. Its test runs that script against a real server, as jobs of both platforms.
package ci
