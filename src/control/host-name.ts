/** A port's name as a host's (RFC 1123 2.1): what DHCP gives its machine, and one of the names it is found by. Pure. */
export function hostName(port: string): string {
  return port.replaceAll(/[^a-z0-9-]/g, '-').replaceAll(/^-+|-+$/g, '');
}
