/*
 * What stands in the filters for the process's own id, which is not known before it runs.
 *
 * Floor 0. For sandbox.c and for the program that makes its filters.
 */
#ifndef SANDBOX_PID_H
#define SANDBOX_PID_H

/* Above any id (the kernel's are below 2^22), and no other number in a filter. */
#define SANDBOX_PID 0x70696421

#endif
