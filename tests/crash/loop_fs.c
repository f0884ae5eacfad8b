/* loop_fs.c - see loop_fs.h. */
#include "tests/crash/loop_fs.h"

#include "tests/lib/runner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

/* Understood by ext4 and xfs alike; not in the headers of every system. */
#define FS_SHUTDOWN _IOR('X', 125, uint32_t)
#define SHUTDOWN_WITHOUT_LOG 2u
#define TRIES 1000 /* of 10 ms */

static bool attach(struct loop_fs *fs)
{
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int image = open(fs->image, O_RDWR | O_CLOEXEC);
    bool done = false;

    for (int tries = 0; control >= 0 && image >= 0 && !done && tries < 20; tries++) {
        struct loop_config config = {.fd = (uint32_t) image};
        int number = ioctl(control, LOOP_CTL_GET_FREE), device;
        if (number < 0)
            break;
        config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        snprintf(fs->device, sizeof(fs->device), "/dev/loop%d", number);
        device = open(fs->device, O_RDWR | O_CLOEXEC);
        /* Somebody else may have been faster. */
        done = device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0 &&
               mount(fs->device, fs->at, fs->type, 0,
                     strcmp(fs->type, "ext4") == 0 ? "errors=remount-ro" : "") == 0;
        int error = errno;
        if (device >= 0)
            close(device);
        errno = error;
        if (!done && error != EBUSY)
            break;
    }
    int error = errno;
    if (image >= 0)
        close(image);
    if (control >= 0)
        close(control);
    errno = error;
    return done;
}

bool loop_fs_open(struct loop_fs *fs, const char *type, const char *at, uint64_t bytes)
{
    char command[512];
    int fd;

    *fs = (struct loop_fs){.type = type};
    snprintf(fs->at, sizeof(fs->at), "%s", at);
    snprintf(fs->image, sizeof(fs->image), "%.190s.image", at);
    fd = open(fs->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert(fd >= 0 && ftruncate(fd, (off_t) bytes) == 0);
    close(fd);
    snprintf(command, sizeof(command),
             "PATH=$PATH:/usr/sbin:/sbin mkfs.%s -q %s %s >/dev/null 2>&1", type,
             strcmp(type, "ext4") == 0 ? "-m 0" : "", fs->image);
    if (system(command) != 0) {
        printf("SKIPPED: no mkfs.%s here: nothing was tested on it\n", type);
        return false;
    }
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        !attach(fs)) {
        printf("SKIPPED: no %s in a file here (%s): nothing was tested on it\n", type,
               strerror(errno));
        return false;
    }
    return true;
}

void loop_fs_unmount(struct loop_fs *fs)
{
    int tries = 0;

    while (umount2(fs->at, 0) != 0) {
        ck_assert_msg(errno == EBUSY && tries++ < TRIES, "umount %s: %s", fs->at, strerror(errno));
        poll(NULL, 0, 10);
    }
}

void loop_fs_mount(struct loop_fs *fs, bool read_only)
{
    ck_assert_msg(attach(fs), "mount %s: %s", fs->at, strerror(errno));
    if (read_only)
        ck_assert_int_eq(mount("none", fs->at, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
}

void loop_fs_stop(struct loop_fs *fs)
{
    uint32_t how = SHUTDOWN_WITHOUT_LOG;
    int fd = open(fs->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_msg(ioctl(fd, FS_SHUTDOWN, &how) == 0, "shutdown: %s", strerror(errno));
    close(fd);
}

bool loop_fs_break(struct loop_fs *fs)
{
    char path[128];
    int fd;
    bool done;

    snprintf(path, sizeof(path), "/sys/fs/ext4/%s/trigger_fs_error", fs->device + 5);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    done = write(fd, "1", 1) == 1;
    close(fd);
    return done;
}

void loop_fs_close(struct loop_fs *fs)
{
    loop_fs_unmount(fs);
    unlink(fs->image);
}
