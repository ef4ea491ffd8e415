/* Loaded in front of the C library (LD_PRELOAD), makes file operations fail as full disks, read-only folders and
   network file systems do. ELKHORN_IO_FAULT = "CALL:PART:ERRNO:AFTER" lets CALL (open, write, fsync, flock) on files whose path
   contains PART fail with that number, after AFTER such calls that succeed; several, separated by commas. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { most_faults = 8 };
static long calls_of[most_faults];

/* The number of the error that this call is to fail with, or 0. */
static int fault(const char* call, const char* path) {
  const char* at = getenv("ELKHORN_IO_FAULT");
  for (int i = 0; at && i < most_faults; ++i) {
    char name[16], part[64];
    int number = 0;
    long after = 0;
    if (sscanf(at, "%15[^:]:%63[^:]:%d:%ld", name, part, &number, &after) != 4) {
      fprintf(stderr, "faulty_io: cannot read ELKHORN_IO_FAULT at %s\n", at);
      abort();
    }
    if (strcmp(name, call) == 0 && strstr(path, part) && calls_of[i]++ >= after) return number;
    at = strchr(at, ',');
    if (at) ++at;
  }
  return 0;
}

static int fault_of_descriptor(const char* call, int descriptor) {
  char link[64], path[4096] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  if (readlink(link, path, sizeof path - 1) < 0) return 0;
  return fault(call, path);
}

#define NEXT(name) (__extension__(name##_function*) dlsym(RTLD_NEXT, #name))

#define OPEN(name)                                    \
  typedef int name##_function(const char*, int, ...); \
  int name(const char* path, int flags, ...) {        \
    va_list arguments;                                \
    va_start(arguments, flags);                       \
    const mode_t mode = va_arg(arguments, mode_t);    \
    va_end(arguments);                                \
    const int number = fault("open", path);           \
    if (number) return errno = number, -1;            \
    return NEXT(name)(path, flags, mode);             \
  }
OPEN(open)
OPEN(open64)

#define WRITE(name, parameters, arguments)               \
  typedef ssize_t name##_function parameters;            \
  ssize_t name parameters {                              \
    const int number = fault_of_descriptor("write", fd); \
    if (number) return errno = number, -1;               \
    return NEXT(name) arguments;                         \
  }
WRITE(write, (int fd, const void* data, size_t size), (fd, data, size))
WRITE(pwrite, (int fd, const void* data, size_t size, off_t offset), (fd, data, size, offset))
WRITE(pwrite64, (int fd, const void* data, size_t size, off64_t offset), (fd, data, size, offset))

#define OTHER(name, parameters, arguments)             \
  typedef int name##_function parameters;              \
  int name parameters {                                \
    const int number = fault_of_descriptor(#name, fd); \
    if (number) return errno = number, -1;             \
    return NEXT(name) arguments;                       \
  }
OTHER(fsync, (int fd), (fd))
OTHER(flock, (int fd, int operation), (fd, operation))
