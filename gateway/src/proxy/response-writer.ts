/** Where an answer goes: to a client, by whichever of the two ways its call came. */
export interface ResponseWriter {
  /** Whether something of it can still be sent. */
  readonly isOpen: boolean
  /**
   * Sends an informational response (1xx) ahead of the one that counts.
   *
   * @param headers names and values, in turn
   */
  inform(status: number, statusText: string, headers: string[]): void
  /** @param headers names in lower case and values, in turn; they leave with what comes next, or with `flush` */
  begin(status: number, statusText: string, headers: string[]): void
  flush(): void
  /** @returns whether the client can take more now; if not, `drained` is called once it can */
  write(chunk: Buffer, drained: () => void): boolean
  /**
   * @param whole the body, where it is small and was not written yet
   * @param trailers names and values, in turn
   */
  end(whole?: Buffer, trailers?: string[]): void
  /** Breaks off: the only way left to say that an answer which has begun is not whole. */
  cut(): void
  /** Calls back once, when the answer is complete, or the client has left. */
  onClose(listener: () => void): void
}

/** In latin1. */
export function informationalHead(status: number, statusText: string, headers: string[]): string {
  let head = `HTTP/1.1 ${status} ${statusText}\r\n`
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${head}\r\n`
}
