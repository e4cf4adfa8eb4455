/** Writes a response to a client, whichever server read its request. */
export interface ResponseWriter {
  /** 0 before the response has begun. */
  readonly status: number
  /** Whether something of it can still be sent. */
  readonly isOpen: boolean
  /**
   * Sends an informational response (1xx) ahead of the one that counts.
   *
   * @param headers names and values in a flat list
   */
  inform(status: number, statusText: string, headers: string[]): void
  /** @param headers names in lower case and values in a flat list; they leave with what comes next, or with `flush` */
  begin(status: number, statusText: string, headers: string[]): void
  flush(): void
  /** @returns whether the client can take more now; if not, `drained` is called once it can */
  write(chunk: Buffer, drained: () => void): boolean
  /**
   * @param body where it is small and was not written yet
   * @param trailers names and values in a flat list
   */
  end(body?: Buffer, trailers?: string[]): void
  /** Breaks off: the only way left to say that a response which has begun is not complete. */
  cut(): void
  /** Calls back once, when the response is complete, or the client has left. */
  onClose(listener: () => void): void
}

/** The head of a response, or of an informational one, in latin1. */
export function responseHead(status: number, statusText: string, headers: string[]): string {
  let head = `HTTP/1.1 ${status} ${statusText}\r\n`
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`
  return `${head}\r\n`
}
